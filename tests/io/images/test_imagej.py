"""Units in headers of ImageJ and OME: each axis has its own."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError, FibdaskWarning
from fibdask.io.images.imagej import _pixel_width, ome_header
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume

VOLUME = grey_volume((4, 5, 6))
METRES = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2}
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
OME = f'<OME xmlns="{NAMESPACE}"><Image><Pixels %s/></Image></OME>'


def steps(stack):
    return [float(stack[axis][1] - stack[axis][0]) for axis in "zyx"]


def write_imagej(path, resolution, resolutionunit=None, **metadata):
    tifffile.imwrite(
        path,
        VOLUME,
        imagej=True,
        resolution=resolution,
        resolutionunit=resolutionunit,
        metadata={"axes": "ZYX"} | metadata,
    )
    return path


@given(*[st.sampled_from(sorted(METRES))] * 3)
def test_imagej__every_axis_has_its_own_unit(tmp_path_factory, z, y, x):
    path = tmp_path_factory.mktemp("imagej") / "a.tif"
    counts = [METRES[x] / 16e-9, METRES[y] / 8e-9]  # pixels of 16 nm along x, of 8 nm along y
    write_imagej(path, counts, unit=x, yunit=y, zunit=z, spacing=20e-9 / METRES[z])
    np.testing.assert_allclose(steps(read_images(path, voltage=1.0)), [20, 8, 16], rtol=1e-3)


@pytest.mark.parametrize("width", [2.5, 7.1, 12.5])
def test_imagej__a_reduced_rational_is_the_width_itself(tmp_path, width):
    path = write_imagej(tmp_path / "a.tif", (1 / width, 1 / width), unit="nm", spacing=10)
    np.testing.assert_allclose(steps(read_images(path, voltage=1.0)), [10, width, width])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"unit": "pixel"}, "pixel_size is needed.*ImageJ resolution is not taken.*'pixel'"),
        ({"unit": "um", "yunit": "ell"}, "pixel_size is needed.*along y is not taken.*'ell'"),
        ({"unit": "um", "zunit": "sec"}, "slice_thickness is needed.*spacing is not taken.*'sec'"),
    ],
)
def test_imagej__what_is_no_length_is_asked_for(tmp_path, metadata, message):
    path = write_imagej(tmp_path / "a.tif", (100, 100), spacing=0.02, **metadata)
    with pytest.raises(ConventionError, match=message):
        read_images(path, voltage=1.0)


def test_imagej__slices_of_two_thicknesses_are_asked_for(tmp_path):
    for k, spacing in enumerate((20, 20, 40)):
        metadata = {"unit": "nm", "spacing": spacing}
        tifffile.imwrite(
            tmp_path / f"a{k}.tif",
            np.zeros((5, 6), "u1"),
            imagej=True,
            resolution=(0.2, 0.2),
            metadata=metadata,
        )
    with pytest.raises(ConventionError, match=r"one thickness; a0.tif says 20, a2.tif says 40 nm"):
        read_images(tmp_path, voltage=1.0)
    stack = read_images(tmp_path, voltage=1.0, z=[0.0, 20.0, 40.0])
    np.testing.assert_array_equal(stack["z"], [0.0, 20.0, 40.0])


def test_imagej__two_units_of_the_resolution_are_told(tmp_path):
    path = write_imagej(tmp_path / "a.tif", (100, 100), "CENTIMETER", unit="um", spacing=0.02)
    with pytest.warns(FibdaskWarning, match="pixels per um, .* per cm: .* would be 100000 nm"):
        assert steps(read_images(path, voltage=1.0)) == [20.0, 10.0, 10.0]
    path = write_imagej(tmp_path / "b.tif", (1e6, 1e6), "CENTIMETER", unit="cm", spacing=2e-6)
    np.testing.assert_allclose(steps(read_images(path, voltage=1.0)), [20, 10, 10])


@pytest.mark.parametrize("spacing", [20.0, 0.0005])
def test_imagej__slices_that_are_not_milled_are_doubted(tmp_path, spacing):
    path = write_imagej(tmp_path / "a.tif", (100, 100), unit="um", spacing=spacing)
    with pytest.warns(FibdaskWarning, match="ImageJ spacing in um gives .* is its unit right"):
        assert steps(read_images(path, voltage=1.0))[0] == spacing * 1e3


@pytest.mark.parametrize(
    "sizes",
    [
        {"X": 0.01, "Y": 0.008, "Z": 0.02},
        {"X": 10, "XUnit": "nm", "Y": 0.008, "YUnit": "µm", "Z": 200, "ZUnit": "Å"},
    ],
)
def test_ome__physical_sizes_are_taken_in_their_units(tmp_path, sizes):
    metadata = {f"PhysicalSize{name}": value for name, value in sizes.items()}
    tifffile.imwrite(tmp_path / "a.ome.tif", VOLUME, ome=True, metadata={"axes": "ZYX"} | metadata)
    stack = read_images(tmp_path / "a.ome.tif", voltage=1.0)
    np.testing.assert_allclose(steps(stack), [20.0, 8.0, 10.0])
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "lightyear"])
def test_ome__what_is_no_length_is_told(unit):
    sizes = f'PhysicalSizeX="1" PhysicalSizeXUnit="{unit}" PhysicalSizeY="1" PhysicalSizeZ="0.02"'
    header = ome_header(OME % sizes)
    assert (header.pixel_size_nm, header.slice_thickness_nm) == (None, 20.0)
    assert f"PhysicalSizeX is not taken, for its unit '{unit}'" in header.conflicts[0].text


def test_ome__images_of_two_sizes_and_damaged_xml_are_told():
    twice = OME % 'PhysicalSizeX="1" PhysicalSizeY="1"/><Pixels PhysicalSizeX="2" PhysicalSizeY="2"'
    assert "says 1000 x 1000, " in ome_header(twice).conflicts[0].text
    for text in ("<OME>", '<!DOCTYPE a [<!ENTITY b "ha">]><OME>&b;</OME>'):
        assert "OME-XML cannot be read" in ome_header(text).conflicts[0].text


@given(st.integers(1, 9999), st.integers(0, 2))
def test_pixel_width__undoes_the_rational_of_imagej(number, digits):
    width = round(number / 10**digits, digits)
    above = int(1 / width * 1e6)
    assert _pixel_width(above, 1_000_000) == pytest.approx(width, rel=2 / above)


@pytest.mark.parametrize("width", [40.0, 3.0, 7.5, 12.4, 0.543])
def test_pixel_width__is_exact_for_ordinary_sizes(width):
    assert _pixel_width(int(1e6 / (width * (1 + 1e-9))), 1_000_000) == width
