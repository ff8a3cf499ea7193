"""OME-TIFF and OME-Zarr: other libraries understand them, and read the same numbers."""

import numpy as np
import ome_types
import pytest
import tensorstore
import tifffile
import zarr
from ome_zarr_models.v05 import Image as OmeZarrImage
from PIL import Image, ImageSequence

from fibdask import StackReadError, levelled_wave, read_images, save_stack
from fibdask.run.exporting import CHANNELS, export_images, export_phase
from fibdask.run.exporting.ome import write_ome_tiff, write_ome_zarr
from tests.run.test_exporting_volumes import grey

SPACING = (4.0, 6.0, 5.5)  # z, y, x


@pytest.fixture(scope="module")
def wave():
    """A phase on a grid of 4 × 6 × 5.5 nm that begins at 100 nm, of more than one level."""
    phase = levelled_wave(
        (6, 9, 133), voxel_size=SPACING, ligament_size=40, solid_fraction=0.4, seed=1
    )
    return phase.assign_coords(z=phase["z"] + 100.0)


@pytest.mark.parametrize("largest", [0, 2**32])
def test_write_ome_tiff__its_description_tells_sizes_and_channel(wave, tmp_path, largest):
    write_ome_tiff(wave, tmp_path / "a.ome.tif", largest=largest)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.is_bigtiff is (largest == 0)
        told = ome_types.from_xml(tif.ome_metadata).images[0].pixels
    assert (told.physical_size_z, told.physical_size_y, told.physical_size_x) == SPACING
    assert told.physical_size_z_unit.value == told.physical_size_x_unit.value == "nm"
    assert (told.size_z, told.size_y, told.size_x, told.size_c) == (6, 9, 133, 1)
    assert told.channels[0].name == "phase"
    with Image.open(tmp_path / "a.ome.tif") as image:
        planes = [np.asarray(page) for page in ImageSequence.Iterator(image)]
    assert np.array_equal(planes, 255 * wave)


def test_write_ome_zarr__its_levels_are_valid_and_lie_where_their_voxels_do(wave, tmp_path):
    write_ome_zarr(wave, tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    told = OmeZarrImage.from_zarr(group).attributes.ome
    assert [axis.unit for axis in told.multiscales[0].axes] == ["nanometer"] * 3
    levels = told.multiscales[0].datasets
    assert [level.path for level in levels] == ["0", "1"]
    steps, starts = zip(*(level.coordinateTransformations for level in levels), strict=True)
    assert [step.scale for step in steps] == [list(SPACING), [2 * step for step in SPACING]]
    first = [float(wave[axis][0]) for axis in "zyx"]
    halfway = [place + step / 2 for place, step in zip(first, SPACING, strict=True)]
    assert [start.translation for start in starts] == [first, halfway]
    values = [read_level(tmp_path / "a.zarr" / level.path) for level in levels]
    assert np.array_equal(values[0], wave)
    store = save_stack(wave.to_dataset(name="phase"), tmp_path / "phase.zarr")
    assert np.array_equal(values[1], zarr.open_array(store / "scale1" / "phase"))


def read_level(path):
    """Read an array of Zarr by tensorstore."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    return tensorstore.open(spec, read=True).result().read().result()


@pytest.mark.parametrize("suffix", [".ome.tif", ".zarr"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_export_images__all_voltages_are_channels_and_come_back(tmp_path, suffix, dtype):
    images = grey(dtype)
    store = save_stack(images, tmp_path / "images.zarr")
    again = read_images(export_images(store, tmp_path / f"a{suffix}"))
    assert again["voltage"].values.tolist() == [1, 2]
    assert again["intensity"].dtype == dtype
    assert np.array_equal(again["intensity"], images["intensity"])
    for axis, spacing in {"z": 10, "y": 6, "x": 5}.items():
        assert np.diff(again[axis]) == pytest.approx(spacing)


@pytest.mark.parametrize("suffix", CHANNELS)
def test_export_images__one_voltage_is_told_by_its_name(tmp_path, suffix):
    images = grey("uint16", shape=(3, 8, 140))
    store = save_stack(images, tmp_path / "images.zarr")
    again = read_images(export_images(store, tmp_path / f"a{suffix}", voltage=2))
    assert again["voltage"].values.tolist() == [2]
    assert np.array_equal(again["intensity"], images["intensity"][1:])


def test_export_phase__a_folder_is_not_replaced(wave, tmp_path):
    store = save_stack(wave.to_dataset(name="phase"), tmp_path / "phase.zarr")
    out = export_phase(store, tmp_path / "a.zarr")
    with pytest.raises(StackReadError, match="there is a folder of this name; remove it first"):
        export_phase(store, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "phase.zarr"]
    assert sorted(path.name for path in out.iterdir()) == ["0", "1", "zarr.json"]
