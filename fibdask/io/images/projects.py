"""Folders of ATLAS 3D and Auto Slice & View: what their jobs tell, and where their slices lie."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ...blocks import Place, RemotePath
from .atlas import atlas_header
from .auto_slice import PROJECT, project_header
from .headers import Header

_JOBS = "*.a3d-setup"
_ASIDE = ("SetupImages", "ProjectLogs", "ImageLogs")  # folders of images that are no slices
_DEEPEST = 3  # folders from that of the project to those of images
_DETECTOR = re.compile(r"_([^_]+)_q\d+_x\d+_y\d+_s\d+$")  # in names of Auto Slice & View


def job_headers(folder: Place) -> Iterator[Header]:
    """Yield what jobs say that lie beside images, or above: that of ATLAS 3D, else the project's.

    Raises
    ------
    StackReadError
        If one cannot be read.
    """
    if isinstance(folder, RemotePath):
        return
    place = folder.absolute()
    above = (place, *place.parents[:_DEEPEST])
    jobs = next((jobs for one in above[:2] if (jobs := sorted(one.glob(_JOBS)))), [])
    for job in jobs:
        yield atlas_header(job, place.name)
    if project := next((one / PROJECT for one in above if (one / PROJECT).is_file()), None):
        yield project_header(project, place)


def project_images(folder: Path, extensions: Collection[str]) -> dict[str, list[Path]]:
    """Return the images of a project, by what names them: their folder, or a pattern of a detector.

    Empty if the folder is that of no project.
    """
    if not any(folder.glob(_JOBS)) and not (folder / PROJECT).is_file():
        return {}
    found: dict[str, list[Path]] = {}
    for below in _folders(folder, _DEEPEST):
        files = [file for file in below.iterdir() if file.is_file()]
        images = [file for file in files if file.suffix.casefold() in extensions]
        names = {file: _DETECTOR.search(file.stem) for file in images}
        detectors = {name[1] if name else "" for name in names.values()}
        for file, name in names.items():
            one = f"*_{name[1]}_q*{file.suffix}" if name and len(detectors) > 1 else ""
            found.setdefault(str(below / one), []).append(file)
    return found


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    for below in sorted(folder.iterdir()):
        if below.is_dir() and not below.is_symlink() and below.name not in _ASIDE:
            yield below
            if depth > 1:
                yield from _folders(below, depth - 1)
