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
_DISKS, _RECIPES = f"{PAGE}#memory-disks-and-interruptions", f"{PAGE}#recipes"
PAGES: dict[type[FibdaskError], str] = {
    StackReadError: f"{PAGE}#reading-images",
    RecipeError: _RECIPES,
    MemoryBudgetError: _DISKS,
    DeviceLostError: "docs/gpu.md#when-it-goes-wrong",
}
_BY_WORDS = {
    "cannot be written": _DISKS,
    "is being written": _DISKS,
    "is being made by": _DISKS,
    "make room": _DISKS,
    "is not the folder of a run": _RECIPES,
    "holds no phase": f"{PAGE}#phases-and-networks",
    "nothing is painted": f"{PAGE}#phases-and-networks",
}
"""Pages of errors whose kind tells less than what they say."""
# Blocks fail on workers: of their errors only the text has come here.
_OF_MEMORY = ("MemoryError", "out of memory", "KilledWorker", "is full")


def page_of(error: FibdaskError) -> str:
    """Return the page, and its heading, that helps with an error."""
    text = str(error)
    if isinstance(error, BlocksFailedError) and any(words in text for words in _OF_MEMORY):
        return _DISKS
    by_words = (page for words, page in _BY_WORDS.items() if words in text)
    by_kind = (PAGES[known] for known in type(error).__mro__ if known in PAGES)
    return next(by_words, next(by_kind, PAGE))
