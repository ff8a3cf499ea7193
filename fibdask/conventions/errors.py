"""The error tree.

FibdaskError
├── ConventionError    (ValueError)    a stack or an argument breaks a rule of the data model
├── StackReadError     (OSError)       images, tables or a store cannot be read or written
├── RecipeError        (ValueError)    a recipe has a wrong key, value or structure
├── MemoryBudgetError  (MemoryError)   a plan does not fit the workers
├── BlocksFailedError  (RuntimeError)  blocks failed; what had finished stays usable
└── DeviceLostError    (RuntimeError)  a GPU has failed; only a new process can use it

Messages say what is wrong, the value found, the rule, and where:
"slice_thickness must be > 0 nm; slice 117 has -0.8 nm".
"""


class FibdaskError(Exception):
    """Base of all errors that fibdask raises on purpose."""


class ConventionError(FibdaskError, ValueError):
    """A stack or an argument breaks a rule of the data model."""


class StackReadError(FibdaskError, OSError):
    """Images, tables or a store cannot be read or written."""


class RecipeError(FibdaskError, ValueError):
    """A recipe has a wrong key, value or structure."""


class MemoryBudgetError(FibdaskError, MemoryError):
    """A plan does not fit the memory of the workers."""


class BlocksFailedError(FibdaskError, RuntimeError):
    """Blocks failed; the message names places and causes, and finished blocks stay usable."""


class DeviceLostError(FibdaskError, RuntimeError):
    """A GPU has failed: this process cannot use it any more, but a new one may."""


class FibdaskWarning(UserWarning):
    """Something that the user should know; the work continues."""
