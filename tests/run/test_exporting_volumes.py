"""Files of voxels for other programs: other libraries read the same numbers and lengths."""

import tracemalloc
from xml.etree import ElementTree

import dask
import dask.array as da
import mrcfile
import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
import xarray as xr

from fibdask import (
    ConventionError,
    RecipeError,
    StackReadError,
    levelled_wave,
    read_images,
    save_stack,
)
from fibdask.conventions import build_stack
from fibdask.run.exporting import CHANNELS, WRITERS, export_images, export_phase, volumes
from fibdask.run.exporting.volumes import write_mrc, write_nrrd, write_vti

SPACING = (4.0, 6.0, 5.5)  # z, y, x
TYPES = {"UInt8": "u1", "UInt16": "<u2", "Float32": "<f4"}


@pytest.fixture(scope="module")
def wave():
    """A phase on a grid of 4 × 6 × 5.5 nm that begins elsewhere than at 0."""
    phase = levelled_wave(
        (7, 24, 20), voxel_size=SPACING, ligament_size=40, solid_fraction=0.4, seed=1
    )
    return phase.assign_coords(z=phase["z"] + 100.0, x=phase["x"] + 11.0)


@pytest.fixture(scope="module")
def stored(wave, tmp_path_factory):
    """A store of the phase."""
    path = tmp_path_factory.mktemp("stored") / "phase.zarr"
    return save_stack(wave.to_dataset(name="phase"), path)


def grey(dtype, count=2, shape=(3, 8, 9)):
    """Return a stack of random images at some voltages."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 250, (count, *shape)).astype(dtype)
    return build_stack(
        {"intensity": values},
        z=10.0 * np.arange(shape[0]),
        pixel_size=(6.0, 5.0),
        nominal_thickness=10.0,
        voltage=np.arange(1.0, count + 1),
    )


def read_vti(path):
    """Read an image of VTK as its format is specified; return values (z, y, x) and attributes."""
    head, _, rest = path.read_bytes().partition(b'<AppendedData encoding="raw">\n_')
    size = int.from_bytes(rest[:8], "little")
    tail = rest[8 + size :]
    root = ElementTree.fromstring(head + b"<AppendedData>" + tail)
    image = root.find("ImageData")
    array = image.find("Piece/CellData/DataArray").attrib
    extent = np.array(image.get("WholeExtent").split(), int)
    assert root.attrib["header_type"] == "UInt64"
    assert root.attrib["byte_order"] == "LittleEndian"
    assert (array["format"], array["offset"]) == ("appended", "0")
    values = np.frombuffer(rest[8 : 8 + size], TYPES[array["type"]])
    origin, spacing = (np.array(image.get(key).split(), float) for key in ("Origin", "Spacing"))
    return values.reshape((extent[1::2] - extent[::2])[::-1]), origin, spacing, array["Name"]


def test_write_mrc__mrcfile_reads_it(wave, stored, tmp_path):
    export_phase(stored, tmp_path / "a.mrc")
    assert mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert mrc.data.dtype == np.int8
        assert np.array_equal(mrc.data, wave)
        assert mrc.is_volume()
        assert [float(mrc.voxel_size[axis]) for axis in "zyx"] == [40, 60, 55]
        assert [float(mrc.header.origin[axis]) for axis in "zyx"] == [1000, 0, 110]
        assert float(mrc.header.dmean) == pytest.approx(float(wave.mean()))
        assert float(mrc.header.rms) == pytest.approx(float(wave.std()))


def test_write_nrrd__pynrrd_reads_it(wave, stored, tmp_path):
    values, header = nrrd.read(str(export_phase(stored, tmp_path / "a.nrrd")), index_order="C")
    assert np.array_equal(values, wave)
    assert np.array_equal(header["space directions"], np.diag(SPACING[::-1]))
    assert np.array_equal(header["space origin"], [11, 0, 100])
    assert header["space units"] == ["nm", "nm", "nm"]
    assert header["labels"] == ["x", "y", "z"]


@pytest.mark.parametrize("longest", [2**15 - 1, 10])
def test_write_nifti__nibabel_reads_it(wave, tmp_path, monkeypatch, longest):
    monkeypatch.setattr(volumes, "_LONGEST_FIRST_NIFTI", longest)
    volumes.write_nifti(wave, tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    assert type(image).__name__ == ("Nifti2Image" if longest == 10 else "Nifti1Image")
    assert np.array_equal(np.asarray(image.dataobj).transpose(), wave)
    assert image.header.get_xyzt_units()[0] == "micron"
    steps = np.array(SPACING[::-1]) / 1e3
    assert np.allclose(image.header.get_zooms(), steps, rtol=1e-6)
    assert np.allclose(image.affine[:3], np.column_stack([np.diag(steps), [0.011, 0, 0.1]]))


def test_write_vti__voxels_are_cells_around_their_coordinates(wave, stored, tmp_path):
    values, origin, spacing, name = read_vti(export_phase(stored, tmp_path / "a.vti"))
    assert np.array_equal(values, wave)
    assert np.array_equal(spacing, SPACING[::-1])
    assert np.array_equal(origin, [11 - 5.5 / 2, -3, 98])
    assert name == "phase"


def test_write_npy__numpy_reads_it(wave, stored, tmp_path):
    assert np.array_equal(np.load(export_phase(stored, tmp_path / "a.npy")), wave)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_export_images__every_format_holds_the_grey_values_of_one_voltage(tmp_path, dtype):
    images = grey(dtype)
    store = save_stack(images, tmp_path / "images.zarr")
    paths = {suffix: tmp_path / f"a{suffix}" for suffix in WRITERS if suffix not in CHANNELS}
    for path in paths.values():
        export_images(store, path, voltage=2)
    with mrcfile.open(paths[".mrc"]) as mrc:
        found = [mrc.data.copy(), nrrd.read(str(paths[".nrrd"]), index_order="C")[0]]
    found += [np.asarray(nibabel.load(paths[".nii"]).dataobj).transpose()]
    found += [read_vti(paths[".vti"])[0], np.load(paths[".npy"]), tifffile.imread(paths[".tif"])]
    for values in found:
        assert np.array_equal(values, images["intensity"][1])
    assert [values.dtype for values in found[1:]] == [dtype] * 5
    assert found[0].dtype == {"uint8": "uint16"}.get(dtype, dtype)


@pytest.mark.parametrize("suffix", [".tif", ".mrc", ".nrrd", ".nii"])
def test_export_images__can_be_imported_again(tmp_path, suffix):
    images = grey("uint16")
    store = save_stack(images, tmp_path / "images.zarr")
    again = read_images(export_images(store, tmp_path / f"a{suffix}", voltage=1), voltage=1)
    assert np.array_equal(again["intensity"], images["intensity"][:1])
    for axis, spacing in {"z": 10, "y": 6, "x": 5}.items():
        assert np.diff(again[axis]) == pytest.approx(spacing)


def test_export_images__says_what_is_wrong(stored, tmp_path):
    with pytest.raises(StackReadError, match="holds no images"):
        export_images(stored, tmp_path / "a.nrrd")
    store = save_stack(grey("uint8"), tmp_path / "images.zarr")
    with pytest.raises(ConventionError, match="at 1, 2 kV, a file those of one: give --voltage"):
        export_images(store, tmp_path / "a.nrrd")
    with pytest.raises(ConventionError, match="voltage must be one of the stack, 1, 2 kV; got 3"):
        export_images(store, tmp_path / "a.nrrd", voltage=3)
    with pytest.raises(RecipeError, match=r"cannot be written as \.am"):
        export_images(store, tmp_path / "a.am", voltage=1)
    assert [path.name for path in tmp_path.iterdir()] == ["images.zarr"]


def test_write_nrrd__a_spacing_that_nothing_tells_is_refused(wave, tmp_path):
    column = wave.isel(x=[0])
    column["x"].attrs.pop("spacing", None)
    with pytest.raises(ConventionError, match="spacing of phase along x is not known"):
        write_nrrd(column, tmp_path / "a.nrrd")


@pytest.mark.parametrize("write", [write_mrc, write_nrrd, write_vti])
def test_writers__memory_does_not_grow_with_depth(tmp_path, write):
    peaks = []
    for planes in (128, 512):
        phase = da.zeros((planes, 128, 256), dtype="uint8", chunks=(32, 128, 256))
        coords = {axis: 5.0 * np.arange(n) for axis, n in zip("zyx", phase.shape, strict=True)}
        volume = xr.DataArray(phase, coords=coords, dims=("z", "y", "x"), name="phase")
        tracemalloc.start()
        with dask.config.set(scheduler="synchronous"):  # threads are not always equally far
            write(volume, tmp_path / "phase")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
