"""read_images on real files; skipped where the shared data are absent."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fibdask.conventions import FibdaskWarning
from fibdask.io.images.atlas import atlas_header
from fibdask.io.images.read import read_images
from fibdask.io.images.tables import read_z_table
from tests.io.naive import taken

DATA = Path(__file__).parents[4] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")


def test_fib25__is_250_cubed_and_reads_as_pillow_does():
    stack = read_images(DATA / "fib25", voltage=1.0, pixel_size=10.0, slice_thickness=10.0)
    assert dict(stack.sizes) == {"voltage": 1, "z": 250, "y": 250, "x": 250}
    with Image.open(DATA / "fib25" / "iso.2717.png") as image:
        np.testing.assert_array_equal(stack["intensity"][0, 117], np.asarray(image))


def test_ligaments__voxels_are_40_by_40_by_46_nm():
    stack = read_images(DATA / "ligaments", voltage=5.0)
    assert dict(stack.sizes) == {"voltage": 1, "z": 130, "y": 150, "x": 150}
    assert float(stack["y"][1]) == float(stack["x"][1]) == 40.0
    assert float(stack["z"][1]) == pytest.approx(46.18, abs=0.01)
    assert float((stack["intensity"] > 128).mean()) == pytest.approx(0.334, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "voltage", "pixel", "detector"),
    [
        ("tescan/fibsem_TESCAN_AMBER_image_ChanA_000003.tif", 30.0, 146.484375, "E-T"),
        ("zeiss/aquami_nanoporous_gold_Sample.tif", 20.0, 0.543, "InLens"),
        ("zeiss/test_tiff_Zeiss_SEM_1k.tif", 25.0, 2615.0, "HE-SE2"),
        ("zeiss/test_tiff_Zeiss_SEM_512pix.tif", 5.0, 11.65, "InLens"),
        ("zeiss/micromechanics_Zeiss.tif", 2.0, 158.7, "SESI"),
    ],
)
def test_vendor_tiff__header_gives_voltage_pixel_size_and_detector(name, voltage, pixel, detector):
    stack = read_images(DATA / "vendor_tiff" / name, slice_thickness=10.0)
    found = taken(stack)
    assert float(stack["voltage"][0]) == voltage
    assert found["pixel_size"]["value"] == [pixel, pixel]
    assert found["detector"]["value"] == detector
    assert "x_mm" in found["stage"]["value"]
    assert stack["intensity"].std() > 0


@pytest.mark.parametrize("bits", [8, 16])
def test_fei__data_bar_is_remarked(bits):
    path = DATA / "vendor_tiff" / "fei" / f"FEI-Helios-Ebeam-{bits}bits.tif"
    with pytest.warns(FibdaskWarning, match="471 rows, of which 442"):
        stack = read_images(path, slice_thickness=10.0)
    assert stack["intensity"].dtype == f"uint{bits}"
    cut = read_images(path, slice_thickness=10.0, crop={"y": (0, 442)})
    np.testing.assert_array_equal(cut["intensity"], stack["intensity"][:, :, :442])


def test_fei__ion_image_is_remarked():
    path = DATA / "vendor_tiff" / "fei" / "fibsem_openfibsem_baseline_ib.tif"
    with pytest.warns(FibdaskWarning, match="beam 'ion'"):
        assert float(read_images(path, slice_thickness=10.0)["voltage"][0]) == 30.0


def test_fei__tilt_that_was_not_corrected_is_remarked():
    path = DATA / "vendor_tiff" / "fei" / "fibsem_baseline_eb.tif"
    with pytest.warns(FibdaskWarning, match=r"face tilted by -38 degrees .* 247\.854 x 195\.312"):
        found = taken(read_images(path, slice_thickness=10.0))
    assert found["pixel_size"]["value"] == [195.312, 195.312]
    assert found["detector"]["value"] == "ETD"
    read_images(path, slice_thickness=10.0, pixel_size=(247.85, 195.3))


def test_openfibsem__json_gives_the_pixel_size():
    path = DATA / "vendor_tiff" / "fei" / "fibsem_ref_high_ib.tif"
    with pytest.warns(FibdaskWarning, match="beam 'ion'"):
        stack = read_images(path, voltage=30.0, slice_thickness=10.0)
    assert taken(stack)["pixel_size"]["value"] == [97.65625, 97.65625]


def test_dealloyed__doubled_pixel_size_is_named():
    path = DATA / "dealloyed" / "Stadealloying_500C_500C.tif"
    with pytest.warns(FibdaskWarning, match=r"says 28\.5, .* says 57"):
        stack = read_images(path, slice_thickness=10.0)
    assert stack.sizes["y"] == 1536
    assert taken(stack)["pixel_size"]["value"] == [28.5, 28.5]


def test_detectors__are_two_stacks():
    means = {}
    for detector in ("InLens", "ESB"):
        with pytest.warns(FibdaskWarning, match=r"says 1\.99996, its note says 4"):
            stack = read_images(DATA / "detectors", slice_thickness=10.0, detector=detector)
        means[detector] = float(stack["intensity"].mean())
    (path,) = (DATA / "detectors").glob("*.dat")
    raw = np.frombuffer(path.read_bytes()[1024:], ">i2").reshape(1000, 1000, 2)
    np.testing.assert_allclose(list(means.values()), raw.mean(axis=(0, 1)) + 32768)
    assert float(stack["voltage"][0]) == 0.9
    assert json.loads(stack.attrs["provenance"][0])["step"] == "read_images"


def test_atlas3d__job_and_table():
    header = atlas_header(DATA / "atlas3d" / "Atlas3D.a3d-setup", "ESB")
    assert (header.voltage_kv, header.pixel_size_nm) == (1.2, (10.0, 10.0))
    assert (header.slice_thickness_nm, header.detector) == (10.0, "ESB")
    table = read_z_table(DATA / "atlas3d" / "z_positions.csv")
    assert table.column == "z_um"
    np.testing.assert_allclose(np.diff(table.values)[:3], [9.4, 10.0, 9.2])
