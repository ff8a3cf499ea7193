"""Reports of a run or a simulation: one HTML page each that needs nothing else."""

from .page import write_report
from .simulation import write_simulation_report

__all__ = ["write_report", "write_simulation_report"]
