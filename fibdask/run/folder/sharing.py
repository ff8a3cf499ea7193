"""What one run has stored, copied for another that begins in the same way."""

import shutil
from collections.abc import Iterable

from ..recipe import Recipe
from .run_folder import PARTIAL, RunFolder


def share_stores(
    source: RunFolder, folder: RunFolder, recipe: Recipe, names: Iterable[str]
) -> None:
    """Copy stores of a run into the folder of another recipe's, as far as it holds none.

    A run of the recipe there takes them for its own: a copy of a finished store is finished, and
    what other parameters or other code would make is made anew.

    The other folder must be taken.
    """
    missing = [name for name in names if not folder.store(name).exists()]
    if missing:
        folder.prepare(recipe.title, recipe.text(), [])
    for name in missing:
        partial = folder.begin_store(name).with_name(PARTIAL.format(f"{name}.zarr"))
        shutil.copytree(source.store(name), partial)
        partial.rename(folder.store(name))
        folder.end_store(name)
