"""What is said of values that do not fit: arguments against headers, and magnitudes."""

import warnings

import pytest
import tifffile

from fibdask.conventions import FibdaskWarning, StackReadError
from fibdask.io.images.read import read_images
from tests.io.naive import grey_volume, taken, write_dat, write_slices


def fei_text(volts=2000, metres=1e-8, detector="TLD", optics=""):
    return (
        f"[Beam]\r\nHV={volts}\r\nBeam=EBeam\r\n[EBeam]\r\nHV={volts}\r\n{optics}"
        f"[Scan]\r\nPixelWidth={metres}\r\nPixelHeight={metres}\r\n"
        f"[Detectors]\r\nName={detector}\r\n"
    )


def write_fei(path, texts):
    """Write one page for each header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as tif:
        for page, text in zip(grey_volume((len(texts), 4, 5)), texts, strict=True):
            tag = (34682, "s", 0, text, True)
            tif.write(page, contiguous=False, metadata=None, extratags=[tag])
    return path


def said(source, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_images(source, **{"slice_thickness": 10.0} | options)
    return [str(warning.message) for warning in caught if warning.category is FibdaskWarning]


def test_read_images__arguments_that_agree_with_the_header_but_for_rounding_are_silent(tmp_path):
    path = write_fei(tmp_path / "a.tif", [fei_text(volts=1998.7, metres=9.996e-9)])
    assert said(path, voltage=2.0, pixel_size=10.0) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"voltage": 5.0}, "voltage 5 kV was given, FEI [Beam] HV of PATH says 2 kV"),
        ({"pixel_size": (10.0, 8.0)}, "pixel_size 10 x 8 nm was given, FEI [Scan] PixelWidth"),
        ({"pixel_size": (8.0, 10.0)}, "PixelHeight of PATH says 10 x 10 nm"),
    ],
)
def test_read_images__arguments_against_the_header_are_told(tmp_path, options, text):
    path = write_fei(tmp_path / "a.tif", [fei_text()])
    (found,) = said(path, **options)
    assert text.replace("PATH", str(path)) in found


def test_read_images__swapped_voltages_are_told_of_each_source(tmp_path):
    paths = {kv: write_fei(tmp_path / f"{kv}.tif", [fei_text(kv * 1000)]) for kv in (2, 5)}
    assert said(paths) == []
    texts = said({2: paths[5], 5: paths[2]})
    assert [text.partition(" of ")[0] for text in texts] == [
        "voltage 2 kV was given, FEI [Beam] HV",
        "voltage 5 kV was given, FEI [Beam] HV",
    ]
    with pytest.warns(FibdaskWarning):
        stack = read_images({2: paths[5], 5: paths[2]}, slice_thickness=10.0)
    assert taken(stack)["conflicts"] == texts


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("s0_5kV.tif", "the name of PATH says 5 kV"),
        ("2kV/s0.tif", None),
        ("5 kV/s0.tif", "the name of PATH says 5 kV"),
        ("1.5KV/2kv.tif", None),
        ("s2_0kV.tif", None),
        ("12kVA.tif", None),
        ("1-2-4kV/s0.tif", None),
        ("1to2kV/s0.tif", None),
        ("Au_FIB30kV/s0.tif", None),
        ("FIB_5kV.tif", None),
        ("Au_30kV.tif", None),
        ("1_4kV/s0.tif", "the name of PATH says 4 kV"),
        ("2kV/InLens/s0.tif", None),
        ("5kV/2kV/s0.tif", None),
        ("2kV/5kV/s0.tif", "the name of PATH says 5 kV"),
    ],
)
def test_read_images__voltages_in_names_are_held_against_what_is_given(tmp_path, name, told):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, grey_volume((2, 4, 5)))
    found = said(path, voltage=2.0, pixel_size=10.0)
    if told is None:
        assert found == []
    else:
        place = str(path.parent if path.name == "s0.tif" else path)
        assert [told.replace("PATH", place) in text for text in found] == [True]


def test_read_images__voltages_of_the_folder_above_are_held_against_what_is_given(tmp_path):
    for name in ("1kV", "2kV"):
        write_slices(tmp_path / name / "InLens", grey_volume((2, 4, 5)))
    source = {1.0: tmp_path / "2kV/InLens", 2.0: tmp_path / "1kV/InLens"}
    low, high = said(source, pixel_size=10.0)
    assert f"1 kV was given, the name of {tmp_path / '2kV'} says 2 kV" in low
    assert f"2 kV was given, the name of {tmp_path / '1kV'} says 1 kV" in high


def test_read_images__one_slice_of_another_voltage_is_told_where_it_is_given(tmp_path):
    path = write_fei(tmp_path / "a.tif", [fei_text(), fei_text(), fei_text(5000)])
    assert said(path, voltage=2.0) == [
        "voltage 2 kV was given, page 2 of a.tif says 5 kV; what was given is taken"
    ]


def test_read_images__pages_that_differ_are_refused_and_mixed_detectors_told(tmp_path):
    path = write_fei(tmp_path / "a.tif", [fei_text(), fei_text(metres=2e-8)])
    with pytest.raises(StackReadError, match=r"page 0 of a\.tif says 10 x 10, page 1 .* 20 x 20"):
        said(path)
    path = write_fei(tmp_path / "b.tif", [fei_text(), fei_text(detector="ICD")])
    with pytest.warns(FibdaskWarning, match="mixes images"):
        assert "detector" not in taken(read_images(path, slice_thickness=10.0))
    (text,) = said(path)
    assert "detector of page 0 of b.tif says TLD, page 1 of b.tif says ICD" in text


def test_read_images__detectors_that_differ_between_voltages_are_told_and_not_recorded(tmp_path):
    source = {
        1.0: write_fei(tmp_path / "a.tif", [fei_text(volts=1000)]),
        2.0: write_fei(tmp_path / "b.tif", [fei_text(detector="ICD")]),
    }
    (text,) = said(source)
    assert "the voltages mix images: detector of FEI [Detectors] Name of" in text
    assert "a.tif says TLD, FEI [Detectors] Name of" in text
    with pytest.warns(FibdaskWarning, match=r"b\.tif says ICD; each is a stack"):
        record = taken(read_images(source, slice_thickness=10.0))
    assert "detector" not in record
    assert record["beam"]["value"] == "electron"


def test_read_images__a_condition_of_a_later_slice_is_told(tmp_path):
    off = "TiltCorrectionIsOn=no\r\nTiltCorrectionAngle=-0.6632\r\n"
    path = write_fei(tmp_path / "a.tif", [fei_text(), fei_text(optics=off)])
    (text,) = said(path)
    assert "page 1 of a.tif: a face tilted by -37.9986 degrees" in text
    assert said(path, pixel_size=(10 / 0.788, 10.0)) == []
    assert said(path, pixel_size=10.0) == [text]  # which repeats the header


def test_read_images__either_of_two_readings_explains_what_was_given(tmp_path):
    path = tmp_path / "a.dat"
    write_dat(path, grey_volume((1, 4, 5), "int16"), names=["ESB"], notes="@ 8nm")
    assert said(path, pixel_size=8.0) == said(path, pixel_size=4.0) == []
    assert "5 x 5 nm was given, Janelia PixelSize" in said(path, pixel_size=5.0)[0]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("voltage", 2000.0, "voltage is 2000 kV (argument voltage), beyond 0.05 to 60 kV"),
        ("voltage", 0.002, "is it in kV?"),
        ("pixel_size", (5.0, 5000.0), "pixel_size is 5 x 5000 nm (argument pixel_size): are both"),
        ("pixel_size", 0.01, "pixel_size is 0.01 x 0.01 nm (argument pixel_size), beyond 0.1"),
        ("pixel_size", (4.0, 2e5), "is it in nm?"),
    ],
)
def test_read_images__magnitudes_that_no_microscope_has_are_doubted(tmp_path, name, value, text):
    given = {"voltage": 2.0, "pixel_size": 4.0}
    folder = write_slices(tmp_path, grey_volume((2, 4, 4)))
    assert said(folder, **given) == []
    (found,) = said(folder, **given | {name: value})
    assert text in found


def test_read_images__magnitudes_of_headers_are_doubted_too(tmp_path):
    path = write_fei(tmp_path / "a.tif", [fei_text(volts=2, metres=1e-3)])
    kilovolts, nanometres = said(path)
    assert "voltage is 0.002 kV (FEI [Beam] HV)" in kilovolts
    assert "pixel_size is 1e+06 x 1e+06 nm" in nanometres


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"slice_thickness": 20.0}, False),
        ({"slice_thickness": 25.0}, True),
        ({"slice_thickness": [18.0, 27.0, 22.0]}, False),
        ({"slice_thickness": None, "z": [0.0, 25.0, 50.0]}, True),
    ],
)
def test_read_images__thickness_against_the_header_is_told(tmp_path, options, told):
    metadata = {"axes": "ZYX", "unit": "nm", "spacing": 20.0}
    path = tmp_path / "a.tif"
    volume = grey_volume((3, 4, 5))
    tifffile.imwrite(path, volume, imagej=True, resolution=(0.1, 0.1), metadata=metadata)
    texts = said(path, voltage=1.0, **options)
    assert ["25 nm (median), ImageJ spacing in nm says 20 nm" in text for text in texts] == [
        True
    ] * told


def test_read_images__two_thicknesses_in_headers_are_told(tmp_path):
    for name, spacing in (("a", 20.0), ("b", 30.0)):
        metadata = {"axes": "ZYX", "unit": "nm", "spacing": spacing}
        volume = grey_volume((3, 4, 5))
        tifffile.imwrite(
            tmp_path / f"{name}.tif", volume, imagej=True, resolution=(0.1, 0.1), metadata=metadata
        )
    sources = {1.0: tmp_path / "a.tif", 2.0: tmp_path / "b.tif"}
    (text,) = said(sources, slice_thickness=None)
    assert "a.tif says 20 nm" in text
    assert "b.tif says 30 nm" in text
