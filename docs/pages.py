"""Run the Python blocks of pages, one after another, as a reader would type them.

    python docs/pages.py

draws the figures of pages into docs/figures, where their images are at hand. A block is followed by
what it prints, in a block of text.
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
FIGURES = DOCS / "figures"
IMAGES = DOCS.parents[1] / "shared" / "data" / "fib25"
RUN = {"tutorial": IMAGES, "uneven": None, "voltages": None, "measuring": None}
"""Pages that are run, and the images that are the folder `slices` of each."""
_BLOCK = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the blocks of a page: code, and what it prints."""
    return _BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))


def run(page: str, folder: Path) -> list[tuple[str, str]]:
    """Run a page in a folder; return what is printed there, and what the page says of it."""
    if images := RUN[page]:
        (folder / "slices").symlink_to(images)
    names: dict[str, object] = {}
    results = []
    with contextlib.chdir(folder):
        for code, told in blocks(page):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, f"{page}.md", "exec"), names)
            results.append((printed.getvalue(), told))
    return results


def main() -> None:
    """Draw the figures of all pages."""
    FIGURES.mkdir(exist_ok=True)
    for page, images in RUN.items():
        if images and not images.is_dir():
            sys.stderr.write(f"{page}.md is not run: there is no folder {images}\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            run(page, Path(folder))
            for figure in Path(folder).glob("*.png"):
                shutil.copy(figure, FIGURES)


if __name__ == "__main__":
    main()
