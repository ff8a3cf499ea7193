"""Reports of a run, a simulation or a training: one HTML page each that needs nothing else."""

from .page import write_report
from .simulation import write_simulation_report
from .training import write_training_report

__all__ = ["write_report", "write_simulation_report", "write_training_report"]
