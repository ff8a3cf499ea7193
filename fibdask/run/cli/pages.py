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
    BlocksFailedError: f"{PAGE}#memory-disks-and-interruptions",
    DeviceLostError: "docs/gpu.md#when-it-goes-wrong",
}


def page_of(kind: type[FibdaskError]) -> str:
    """Return the page, and its heading, that helps with a kind of errors."""
    return next((PAGES[known] for known in kind.__mro__ if known in PAGES), PAGE)
