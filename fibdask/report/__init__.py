"""Reports of runs, simulations, trainings, adaptations: one HTML page each, and nothing else."""

from .adaptation import write_adaptation_report
from .page import write_report
from .simulation import write_simulation_report
from .training import write_training_report

__all__ = [
    "write_adaptation_report",
    "write_report",
    "write_simulation_report",
    "write_training_report",
]
