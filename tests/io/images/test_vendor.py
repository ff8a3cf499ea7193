"""Headers of microscopes: units, conflicts, unsafe XML."""

import struct
from math import cos, radians, sin

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import FibdaskWarning, StackReadError
from fibdask.io.images.atlas import atlas_header
from fibdask.io.images.headers import Header, complete, make_header
from fibdask.io.images.read import read_images
from fibdask.io.images.vendor import fei_header, openfibsem_header, page_header, tescan_header
from fibdask.io.images.zeiss import zeiss_header
from tests.io.naive import grey_volume, taken, write_slices

ATLAS = """<?xml version="1.0"?><ATLAS3D-Setup><Settings>
<KeyFrame><FibicsRasterInfo><PixelSizeX>0.02</PixelSizeX></FibicsRasterInfo></KeyFrame>
<Imaging><Interval>0.01</Interval><Detector>SE2</Detector><DetectorB>ESB</DetectorB>
<FibicsRasterInfo><PixelSizeX>0.004</PixelSizeX><PixelSizeY>0.005</PixelSizeY></FibicsRasterInfo>
</Imaging></Settings><ColumnInfo><EHT>1200</EHT></ColumnInfo></ATLAS3D-Setup>"""
LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'
EXTERNAL = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>'


def test_zeiss_header__image_pixel_size_is_taken_and_the_other_named():
    tag = {
        "ap_actualkv": ("EHT", 900, "V"),
        "ap_image_pixel_size": ("Image Pixel Size", 21.83, "nm"),
        "ap_pixel_size": ("Pixel Size", 43.66, "nm"),
    }
    header = zeiss_header(tag, 2048)
    assert (header.voltage_kv, header.pixel_size_nm) == (0.9, (21.83, 21.83))
    ((name, text, _),) = header.conflicts
    assert name == "pixel_size_nm"
    assert "Zeiss Image Pixel Size says 21.83, Zeiss Pixel Size says 43.66" in text


@pytest.mark.parametrize(
    ("line", "kilovolts"),
    [
        ("EHT = 800 V", 0.8),
        ("EHT =\t 0.80 kV", 0.8),
        ("EHT Target = 800 V", 0.8),
        ("EHT = - V", None),
    ],
)
def test_page_header__voltages_in_volts_are_read(tmp_path, line, kilovolts):
    text = f"D\r\nAP_ACTUALKV\r\n{line}\r\nAP_WD\r\nWD = 5.0 mm\r\n"
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 5), "u1"), extratags=[(34118, 2, 0, text, True)]
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert page_header(tif.pages[0]).voltage_kv == kilovolts


def zeiss_sizes(columns, **lengths):
    """Read the header of an image of so many columns that tells lengths in nm."""
    tag = {f"ap_{name}": (name, value, "nm") for name, value in lengths.items()}
    header = zeiss_header(tag, columns)
    return header.pixel_size_nm[1], [found.text for found in header.conflicts]


@pytest.mark.parametrize("columns", [512, 1024, 2048, 3072, 6144])
def test_zeiss_header__pixel_size_of_the_display_is_scaled_to_the_columns(columns):
    size, texts = zeiss_sizes(columns, pixel_size=6.0, width=6144.0)
    assert (size, texts) == (pytest.approx(6144 / columns), [])


@pytest.mark.parametrize("name", ["pixel_size", "width"])
def test_zeiss_header__a_single_size_is_not_confirmed_unless_nothing_was_scaled(name):
    length = {"pixel_size": 6.0, "width": 6144.0}[name]
    size, (text,) = zeiss_sizes(2048, **{name: length})
    assert size == 3.0
    assert f"is 3 by Zeiss {name}" in text
    assert "nothing else in the header confirms it" in text
    assert zeiss_sizes(1024, **{name: length}) == (6.0, [])


def test_zeiss_header__fourth_number_is_the_size_of_the_display_in_metres():
    assert zeiss_header({"": (0, 0, 0, 6e-9)}, 1024).pixel_size_nm == (6.0, 6.0)


def test_zeiss_header__columns_that_were_cut_are_told():
    size, (text,) = zeiss_sizes(900, pixel_size=6.0, width=6144.0)
    assert size == pytest.approx(6144 / 900)
    assert "is wrong if the image was cropped" in text
    tag = {
        "ap_width": ("Width", 6144.0, "nm"),
        "ap_pixel_size": ("Pixel Size", 6.0, "nm"),
        "dp_image_store": ("Store resolution", "2048 * 1536"),
    }
    header = zeiss_header(tag, 900)
    assert header.pixel_size_nm == (3.0, 3.0)
    assert "900 columns, Zeiss Store resolution says 2048" in header.conflicts[0].text


def test_zeiss_header__width_that_belongs_to_another_scan_is_told():
    size, (text,) = zeiss_sizes(1024, image_pixel_size=6.0, width=3072.0)
    assert size == 6.0
    assert "image_pixel_size says 6, Zeiss width / 1024 columns says 3" in text


@pytest.mark.parametrize(
    ("on", "angle", "stage", "others"),
    [
        (True, 36.0, 54.0, []),
        (False, 36.0, 0.0, []),
        (False, 70.0, 30.0, [((12.0 / 3**0.5, 6.0), (12.0, 6.0))]),
        (False, 60.0, None, [((12.0, 6.0),)]),
        (True, 0.0, 30.0, [((12.0 / 3**0.5, 6.0), (12.0, 6.0))]),
        (None, 36.0, 54.0, []),
    ],
)
def test_zeiss_header__tilt_is_told_where_it_was_not_corrected(on, angle, stage, others):
    tag = {"ap_image_pixel_size": ("", 6.0, "nm"), "ap_tilt_angle": ("", angle, "°")}
    tag |= {} if on is None else {"dp_tilt_correction": ("", on)}
    tag |= {} if stage is None else {"ap_stage_at_t": ("", stage, "°")}
    header = zeiss_header(tag, 1024)
    assert header.pixel_size_nm == (6.0, 6.0)
    for found, expected in zip(header.conflicts, others, strict=True):
        np.testing.assert_allclose(found.others, expected)


def fei_tag(**optics):
    return {
        "Beam": {"HV": 5000, "Beam": "EBeam"},
        "EBeam": optics,
        "Scan": {"PixelWidth": 1e-8, "PixelHeight": 1e-8},
        "Stage": {"StageT": radians(52.0)},
        "Image": {"ResolutionX": 1000},
    }


@pytest.mark.parametrize(
    ("optics", "factors"),
    [
        ({"TiltCorrectionIsOn": "yes", "TiltCorrectionAngle": radians(-38.0)}, []),
        ({"TiltCorrectionIsOn": "yes"}, []),
        ({"TiltCorrectionIsOn": ""}, []),
        ({"TiltCorrectionIsOn": "no", "TiltCorrectionAngle": radians(-38.0)}, [cos(radians(38.0))]),
        ({"TiltCorrectionIsOn": "no"}, [cos(radians(52.0)), sin(radians(52.0))]),
    ],
)
def test_fei_header__lengths_along_y_that_tilt_shortened_are_told(optics, factors):
    header = fei_header(fei_tag(**optics), 1000)
    assert header.pixel_size_nm == (10.0, 10.0)
    told = [y for found in header.conflicts for y, _ in found.others]
    np.testing.assert_allclose(told, [10.0 / factor for factor in factors], rtol=1e-5)


def test_fei_header__images_of_other_columns_than_were_scanned_are_told():
    (found,) = fei_header(fei_tag(), 250).conflicts
    assert "250 columns, FEI [Image] ResolutionX says 1000" in found.text
    assert found.others == (40.0,)


def test_tescan_header__tilt_is_told_where_it_was_not_corrected():
    def conflicts(text):
        text += b"PixelSizeX=1e-8\nPixelSizeY=1e-8\nStageTilt=55\n"
        return tescan_header(struct.pack("<IH", len(text) + 2, 2) + text).conflicts

    assert "stage was tilted by 55 degrees" in conflicts(b"TiltCorrection=0.0\n")[0].text
    assert conflicts(b"TiltCorrection=35.0\n") == conflicts(b"") == ()


def test_openfibsem_header__resized_images_are_told():
    text = '{"beam_type": "ELECTRON", "pixel_size": {"x": 4e-9, "y": 4e-9}, "resolution": %s}'
    for resolution in ('"1536x1024"', "[1536, 1024]"):
        assert openfibsem_header(text % resolution, 1536).conflicts == ()
        assert openfibsem_header(text % resolution, 768).conflicts[0].others == (8.0,)


def test_zeiss_header__ion_images_have_the_voltage_of_the_ion_beam():
    tag = {
        "dp_fib_imaging": ("FIB Imaging", "FIB"),
        "ap_actualkv": ("EHT", 5.0, "kV"),
        "ap_fib_eht_actual": ("FIB EHT", 30.0, "kV"),
    }
    assert (zeiss_header(tag, 1024).voltage_kv, zeiss_header(tag, 1024).beam) == (30.0, "ion")


def test_fei_header__empty_fields_are_not_numbers():
    tag = {"Beam": {"HV": "", "Beam": "EBeam"}, "Scan": {"PixelWidth": ""}, "Stage": {"StageX": ""}}
    header = fei_header(tag, 1000)
    assert (header.voltage_kv, header.pixel_size_nm, header.stage) == (None, None, None)


def test_fei_header__field_width_and_deceleration_are_compared():
    tag = {
        "Beam": {"HV": 5000, "Beam": "EBeam"},
        "EBeam": {"HV": 5000, "HFW": 1e-5},
        "Scan": {"PixelWidth": 2e-8, "PixelHeight": 2e-8},
        "Image": {"ResolutionX": 1000},
        "EBeamDeceleration": {"ModeOn": "On", "LandingEnergy": 1000},
    }
    text = " ".join(found.text for found in fei_header(tag, 1000).conflicts)
    assert "PixelWidth says 20, FEI [EBeam] HFW / ResolutionX says 10" in text
    assert "LandingEnergy says 1 kV" in text


def test_tescan_header__records_are_walked():
    def record(kind, content):
        return struct.pack("<IH", len(content) + 2, kind) + content

    size = b"PixelSizeX=0.000000004\nPixelSizeY=0.000000005\n\0"
    beam = b"HV=2000.0\nAcceleratorVoltage=5000.0\nDetector=E-T\nStageX=0.001\n\0"
    thumbnail = record(1, b"HV=1\n[MAIN]")
    header = tescan_header(thumbnail + record(2, size) + record(3, beam) + record(0, b""))
    assert (header.voltage_kv, header.pixel_size_nm, header.detector) == (2.0, (5.0, 4.0), "E-T")
    assert header.stage == {"x_mm": 1.0}
    assert "TESCAN HV says 2, TESCAN AcceleratorVoltage says 5" in header.conflicts[0].text


@given(st.binary(max_size=60))
def test_tescan_header__never_fails_on_damaged_tags(tag):
    assert isinstance(tescan_header(tag), Header)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"shape": [1]}',
        '{"beam_type": null}',
        "[1]",
        "{1}",
        '{"image": 4}',
        '{"beam_type": 3, "microscope_state": 4, "pixel_size": 5}',
        '{"a":' * 3000,
    ],
)
def test_openfibsem_header__other_json_is_no_header(text):
    assert openfibsem_header(text, 1536).voltage_kv is None


def test_openfibsem_header__voltage_of_the_beam_that_made_the_image():
    text = (
        '{"beam_type": "ELECTRON", "pixel_size": {"x": 4e-9, "y": 5e-9}, "microscope_state": '
        '{"eb_settings": {"voltage": 2000}, "ib_settings": {"voltage": 30000}}}'
    )
    header = openfibsem_header(text, 1536)
    assert (header.voltage_kv, header.pixel_size_nm, header.beam) == (2.0, (5.0, 4.0), "electron")


def test_atlas_header__imaging_raster_not_key_frames(tmp_path):
    path = tmp_path / "job.a3d-setup"
    path.write_text(ATLAS)
    header = atlas_header(path, "ESB")
    assert (header.voltage_kv, header.pixel_size_nm) == (1.2, (5.0, 4.0))
    assert (header.slice_thickness_nm, header.detector) == (10.0, "ESB")
    assert atlas_header(path).detector is None


@pytest.mark.parametrize("text", [LAUGHS, EXTERNAL, "<a>", "", "{}"])
def test_atlas_header__unsafe_or_broken_xml_is_refused(tmp_path, text):
    path = tmp_path / "job.a3d-setup"
    path.write_text(text)
    with pytest.raises(StackReadError, match=r"job\.a3d-setup cannot be read as an ATLAS 3D job"):
        atlas_header(path)


def test_read_images__atlas_job_beside_the_folder_of_the_detector(tmp_path):
    (tmp_path / "job.a3d-setup").write_text(ATLAS)
    folder = write_slices(tmp_path / "ESB", grey_volume((3, 4, 4)), suffix=".tif")
    for k, z in enumerate((1.0894, 1.0988, 1.1088)):
        (folder / f"slice_{k}.tif").rename(folder / f"slice_{k:05}_z={z}um.tif")
    stack = read_images(folder)
    assert list(stack["z"].values) == [1089.4, 1098.8, 1108.8]
    assert float(stack["slice_thickness"][-1]) == 10.0
    assert float(stack["voltage"][0]) == 1.2
    assert taken(stack)["detector"]["value"] == "ESB"


def test_read_images__two_atlas_jobs_that_differ_are_told(tmp_path):
    (tmp_path / "a.a3d-setup").write_text(ATLAS)
    (tmp_path / "b.a3d-setup").write_text(ATLAS.replace("<EHT>1200", "<EHT>5000"))
    write_slices(tmp_path, grey_volume((3, 4, 4)), suffix=".tif")
    with pytest.warns(FibdaskWarning, match=r"a.a3d-setup .* says 1.2, .*b.a3d-setup .* says 5;"):
        assert float(read_images(tmp_path)["voltage"][0]) == 1.2


def test_read_images__ion_images_and_data_bars_are_remarked(tmp_path):
    text = (
        "[Beam]\r\nHV=30000\r\nBeam=IBeam\r\n[Scan]\r\nPixelWidth=4e-9\r\nPixelHeight=4e-9\r\n"
        "[Image]\r\nResolutionX=6\r\nResolutionY=5\r\n"
    )
    tag = (34682, "s", 0, text, True)
    tifffile.imwrite(tmp_path / "a.tif", grey_volume((7, 6)), extratags=[tag], metadata=None)
    with pytest.warns(FibdaskWarning) as caught:
        stack = read_images(tmp_path / "a.tif", slice_thickness=10.0)
    messages = " ".join(str(warning.message) for warning in caught)
    assert "with the beam 'ion'" in messages
    assert "7 rows, of which 5 were scanned" in messages
    assert float(stack["voltage"][0]) == 30.0


def test_complete__fills_and_compares():
    first = make_header({"voltage_kv": (2.0, "tag")})
    other = make_header({"voltage_kv": (3.0, "job"), "pixel_size_nm": ((4.0, 4.0), "job")})
    both = complete(first, other)
    assert (both.voltage_kv, both.pixel_size_nm) == (2.0, (4.0, 4.0))
    assert both.origins == {"voltage_kv": "tag", "pixel_size_nm": "job"}
    assert "tag says 2, job says 3" in both.conflicts[0].text
