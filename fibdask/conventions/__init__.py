"""What a stack is: names, units, rules, errors, provenance."""

from .choices import Intervals, chosen_region, voltage_index
from .errors import (
    BlocksFailedError,
    ConventionError,
    DeviceLostError,
    FibdaskError,
    FibdaskWarning,
    MemoryBudgetError,
    RecipeError,
    StackReadError,
)
from .stack import (
    VERSION,
    axis_spacing,
    build_stack,
    finish_stack,
    is_regular,
    phase_names,
    plain_value,
    record_step,
    require,
    require_phase,
)
from .validation import check_phase_values, check_thickness, check_z, validate_stack
from .variables import AXES, COORDINATES, DIMENSIONS, PHASES, VARIABLES, VOLUMES, attributes

__all__ = [
    "AXES",
    "COORDINATES",
    "DIMENSIONS",
    "PHASES",
    "VARIABLES",
    "VERSION",
    "VOLUMES",
    "BlocksFailedError",
    "ConventionError",
    "DeviceLostError",
    "FibdaskError",
    "FibdaskWarning",
    "Intervals",
    "MemoryBudgetError",
    "RecipeError",
    "StackReadError",
    "attributes",
    "axis_spacing",
    "build_stack",
    "check_phase_values",
    "check_thickness",
    "check_z",
    "chosen_region",
    "finish_stack",
    "is_regular",
    "phase_names",
    "plain_value",
    "record_step",
    "require",
    "require_phase",
    "validate_stack",
    "voltage_index",
]
