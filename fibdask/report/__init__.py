"""Reports of runs, simulations, trainings, adaptations: one HTML page each, and nothing else.

Single figures of them, what notebooks show of a stack, and a page to look through one, too.
"""

from .adaptation import write_adaptation_report
from .display import stack_html
from .drawing import plot_correlations, plot_slices, plot_thickness
from .page import write_report
from .simulation import write_simulation_report
from .training import write_training_report
from .viewing import view

__all__ = [
    "plot_correlations",
    "plot_slices",
    "plot_thickness",
    "stack_html",
    "view",
    "write_adaptation_report",
    "write_report",
    "write_simulation_report",
    "write_training_report",
]
