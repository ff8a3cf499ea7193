"""Pages of the documentation that say what to do about errors."""

from ...conventions import (
    BlocksFailedError,
    DeviceLostError,
    FibdaskError,
    MemoryBudgetError,
    RecipeError,
    StackReadError,
)

PAGE = "docs/troubleshooting.md"
PAGES: dict[type[FibdaskError], str] = {
    StackReadError: f"{PAGE}#reading-images",
    RecipeError: f"{PAGE}#recipes",
    MemoryBudgetError: f"{PAGE}#memory-disks-and-interruptions",
    DeviceLostError: "docs/gpu.md#when-it-goes-wrong",
}
# Blocks fail on workers: of their errors only the text has come here.
_OF_FOLDERS = "is not the folder of a run; choose"
_OF_DISKS = ("cannot be written", "is being written", "is being made by", "make room")
_OF_MEMORY = ("MemoryError", "out of memory", "KilledWorker", "is full")


def page_of(error: FibdaskError) -> str:
    """Return the page, and its heading, that helps with an error."""
    kind, text = type(error), str(error)
    of_memory = issubclass(kind, BlocksFailedError) and any(words in text for words in _OF_MEMORY)
    if of_memory or any(words in text for words in _OF_DISKS):
        kind = MemoryBudgetError
    elif _OF_FOLDERS in text:
        kind = RecipeError
    return next((PAGES[known] for known in kind.__mro__ if known in PAGES), PAGE)
