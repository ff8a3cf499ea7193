"""The formats of images that are read, and which of them a file has."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...blocks import Place
from ...conventions import StackReadError
from ..metadata import ome_files
from .amira import Amira
from .digital_micrograph import DigitalMicrograph
from .formats import Decoder
from .hdf5 import Hdf5
from .imaris import Imaris
from .janelia import Dat
from .n5 import N5, N5_ATTRIBUTES
from .nifti import Nifti
from .nrrd import Nrrd
from .ome_zarr import OmeZarr
from .pillow import Pillow
from .tiff import Tiff
from .volumes import Mrc, Npy


@dataclass(frozen=True)
class Format:
    """A format of images.

    Attributes
    ----------
    name
        In messages.
    suffixes
        Of its files, in small letters; none of a folder.
    make
        Makes a decoder, of options by their names.
    options
        Names of these: `dataset` and `channel` of files that may hold several, `detector` where it
        may be a number.
    series
        Whether its files in a folder make a stack.
    remote
        Whether a file on a server is read in parts.
    """

    name: str
    suffixes: tuple[str, ...]
    make: Callable[..., Decoder]
    options: tuple[str, ...] = ()
    series: bool = False
    remote: bool = False


_OME_ZARR = Format("OME-Zarr", (), OmeZarr, ("channel",))
_N5 = Format("N5", (), N5, ("dataset",))
FORMATS = (
    Format("TIFF", (".tif", ".tiff"), Tiff, ("channel",), series=True, remote=True),
    _OME_ZARR,
    Format("PNG", (".png",), Pillow, series=True),
    Format("BMP", (".bmp",), Pillow, series=True),
    Format("Janelia .dat", (".dat",), Dat, ("detector",), series=True),
    Format("HDF5", (".h5", ".hdf5", ".hdf"), Hdf5, ("dataset", "channel"), remote=True),
    Format("Imaris", (".ims",), Imaris, ("channel",), remote=True),
    _N5,
    Format("NRRD", (".nrrd", ".nhdr"), Nrrd, remote=True),
    Format("NIfTI", (".nii", ".nii.gz"), Nifti, remote=True),
    Format("Amira", (".am",), Amira, remote=True),
    Format("Digital Micrograph", (".dm3", ".dm4"), DigitalMicrograph, series=True, remote=True),
    Format("MRC", (".mrc", ".rec"), Mrc),
    Format(".npy", (".npy",), Npy),
)
SUFFIXES = {suffix: known for known in FORMATS for suffix in known.suffixes}
_OF_TWO_PARTS = tuple(suffix for suffix in SUFFIXES if suffix.count(".") > 1)


def format_by_name(file: Path) -> Format:
    """Return the format of a file by its name.

    Raises
    ------
    StackReadError
        If it is none that can be read.
    """
    if file in ome_files(file.parent):
        return _OME_ZARR
    if file.name == N5_ATTRIBUTES:
        return _N5
    suffix = suffix_of(file)
    if suffix not in SUFFIXES:
        msg = f"{file} has the extension {suffix or '(none)'}; readable are {', '.join(SUFFIXES)}"
        raise StackReadError(msg)
    return SUFFIXES[suffix]


def suffix_of(file: Place) -> str:
    """Return what a name ends in, in small letters; that of a compressed file has two parts."""
    name = file.name.casefold()
    return next((two for two in _OF_TWO_PARTS if name.endswith(two)), file.suffix.casefold())


def is_image(file: Path) -> bool:
    """Return whether a file has a suffix of a format that is read."""
    return suffix_of(file) in SUFFIXES
