"""Folders of ATLAS 3D and Auto Slice & View, written by tifffile as others have described them."""

import json

import numpy as np
import pytest
import tifffile

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.atlas import atlas_header, fibics_header
from fibdask.io.images.auto_slice import auto_slice_header, project_header
from fibdask.io.images.headers import Header
from fibdask.io.images.read import read_images
from tests.io.images.test_vendor import ATLAS, EXTERNAL, LAUGHS
from tests.io.naive import grey_volume, taken

VOLUME = grey_volume((3, 5, 6))
FEI = """[Beam]\r\nHV=2000\r\nBeam=EBeam\r\n[EBeam{mark}]\r\nHFW=2.4e-08\r\n[Scan]
PixelWidth=4e-09\r\nPixelHeight=4e-09\r\n[Image]\r\nResolutionX=6\r\nResolutionY=5\r\n[Stage]
StageZ=0.004\r\n[Detectors]\r\nName=TLD\r\n"""
ASV = """<?xml version="1.0"?><Metadata xmlns="http://example.org/metadata">
<Optics><AccelerationVoltage>2000</AccelerationVoltage></Optics><CustomSectionGroup><CustomSection>
<VoxelSizeInfo><VoxelX{unit}>{x}</VoxelX><VoxelY{unit}>{x}</VoxelY><VoxelZ{unit}>{z}</VoxelZ>
</VoxelSizeInfo></CustomSection></CustomSectionGroup></Metadata>"""
FIBICS = """<?xml version="1.0" encoding="iso-8859-1"?>
<Fibics version="1.2"><Image><Width>6</Width><Height>5</Height><Beam>SEM</Beam>
<Detector>ESB</Detector></Image><Scan><FOV_X units="um">0.024</FOV_X>
<Ux>0.003464101615</Ux><Uy>0.002</Uy><Vx>0.002</Vx><Vy>-0.003464101615</Vy></Scan>
<Stage><X units="um">10</X><Z units="um">4500</Z></Stage>
<BeamInfo><item name="AccV">{volts}</item></BeamInfo>
<ATLAS3D><Slice><ZIndex>{k}</ZIndex><ZPos{unit}>{z}</ZPos></Slice></ATLAS3D></Fibics>"""
NEWER = """<ATLAS3D-Setup version="2"><Settings><Imaging><Detector>ESB</Detector>
<DefaultAcquisition><PixelSize>0.00499999988824129</PixelSize><Interval><Active>{active}</Active><Distance>
<Interval>0.012</Interval></Distance></Interval></DefaultAcquisition></Imaging></Settings>
<ColumnInfo><EHT>1500</EHT></ColumnInfo></ATLAS3D-Setup>"""


def image(path, frame, **tags):
    """Write an image with texts in private tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    extra = [(int(code[1:]), "s", 0, text, True) for code, text in tags.items()]
    tifffile.imwrite(path, frame, extratags=extra, metadata=None)


def auto_slice(root, *, site="Gold", detectors=("TLD-SE",), voxel=(4, 10), mark=""):
    """Write a project of Auto Slice & View, whose slices are 10 nm thick."""
    acquired = root / site / "SEM Imaging" / "Acquired"
    for detector in detectors:
        for k, frame in enumerate(VOLUME, 1):
            xml = ASV.format(unit="", x=voxel[0], z=voxel[1])
            tags = {"t34682": FEI.format(mark=mark), "t34683": xml}
            image(acquired / f"Gold_A_{detector}_q1_x01_y01_s{k:04}.tif", frame, **tags)
    image(acquired.parent / "SetupImages" / "before.tif", VOLUME[0])
    sites = [{"Properties": {"Name": site}, "Context": {"Slicing": {"SliceThickness": 1e-08}}}]
    told = {"Name": "Gold", "Sites": sites}
    (root / "Project.AsvProject").write_text(json.dumps(told), encoding="utf-8-sig")
    return acquired


@pytest.mark.parametrize("below", ["", "Gold/SEM Imaging/Acquired"])
@pytest.mark.parametrize("voxel", [(4, 10), (4e-9, 1e-8)])
def test_read_images__an_auto_slice_project_tells_all_of_its_slices(tmp_path, below, voxel):
    auto_slice(tmp_path, voxel=voxel, mark="=")
    stack = read_images(tmp_path / below)
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    assert (float(stack["voltage"][0]), float(stack["x"][1])) == (2.0, 4.0)
    assert stack["z"].values.tolist() == [0, 10, 20]
    assert taken(stack)["detector"]["value"] == "TLD"


def test_read_images__a_slice_that_an_auto_slice_project_lacks_is_a_gap(tmp_path):
    (auto_slice(tmp_path) / "Gold_A_TLD-SE_q1_x01_y01_s0002.tif").unlink()
    with pytest.warns(FibdaskWarning, match="slices 2 are missing"):
        assert read_images(tmp_path)["z"].values.tolist() == [0, 20]


def test_read_images__detectors_of_a_project_are_asked_for(tmp_path):
    folder = auto_slice(tmp_path, detectors=("TLD-SE", "ICD-BSE"))
    with pytest.raises(StackReadError, match="is a project with 2 series") as caught:
        read_images(tmp_path)
    pattern = str(folder / "*_TLD-SE_q*.tif")
    assert pattern in str(caught.value)
    np.testing.assert_array_equal(read_images(pattern)["intensity"][0], VOLUME)


def test_read_images__the_thickness_of_a_project_is_taken_where_images_tell_none(tmp_path):
    auto_slice(tmp_path, voxel=(7, 10))
    with pytest.warns(FibdaskWarning, match="VoxelZ is not taken: no unit is told"):
        stack = read_images(tmp_path)
    assert stack["z"].values.tolist() == [0, 10, 20]
    assert taken(stack)["z"]["from"] == "Project.AsvProject Slicing/SliceThickness"


def test_read_images__images_and_project_that_differ_are_told(tmp_path):
    auto_slice(tmp_path, voxel=(4, 20))
    with pytest.warns(
        FibdaskWarning, match=r"VoxelZ in nm, as VoxelX is says 20, Project.* says 10"
    ):
        assert read_images(tmp_path)["z"].values.tolist() == [0, 20, 40]


def test_read_images__slices_of_several_thicknesses_are_refused(tmp_path):
    folder = auto_slice(tmp_path)
    (tmp_path / "Project.AsvProject").unlink()
    tags = {"t34682": FEI.format(mark=""), "t34683": ASV.format(unit="", x=4, z=15)}
    image(folder / "Gold_A_TLD-SE_q1_x01_y01_s0003.tif", VOLUME[2], **tags)
    with pytest.raises(ConventionError, match=r"should have one thickness; .* 10, .* 15 nm"):
        read_images(folder)


def test_auto_slice_header__units_that_are_told_are_taken():
    xml = ASV.format(unit=' unit="um"', x=0.004, z=0.01)
    header = auto_slice_header(xml, Header(pixel_size_nm=(4.0, 4.0)))
    assert (header.slice_thickness_nm, header.voltage_kv, header.conflicts) == (10.0, 2.0, ())
    header = auto_slice_header(xml, Header(pixel_size_nm=(5.0, 5.0)))
    assert "the header says 5, ASV VoxelSizeInfo/VoxelX says 4" in header.conflicts[0].text


@pytest.mark.parametrize("text", [LAUGHS, EXTERNAL, "[User]", "<a>", b"\xff\0", "<a/>"])
def test_headers__other_content_of_their_tags_is_none(text):
    assert auto_slice_header(text, Header()) == Header()
    assert fibics_header(text, 6).pixel_size_nm is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"Sites": 1}', '{"Sites": [[]]}', "[" * 10**5])
def test_project_header__what_is_no_project_is_refused(tmp_path, text):
    path = tmp_path / "Project.AsvProject"
    path.write_text(text)
    with pytest.raises(StackReadError, match="cannot be read as a project of Auto Slice & View"):
        project_header(path, tmp_path / "Gold")


def test_project_header__several_sites_tell_their_own_thickness(tmp_path):
    sites = [
        {"Properties": {"Name": name}, "Context": {"Slicing": {"SliceThickness": thickness}}}
        for name, thickness in (("Gold", 1e-8), ("Silver", 2e-8))
    ]
    path = tmp_path / "Project.AsvProject"
    path.write_text(json.dumps({"Sites": {"$values": sites}}))
    assert project_header(path, tmp_path / "Silver" / "a").slice_thickness_nm == 20.0
    assert project_header(path, tmp_path / "Copper").slice_thickness_nm is None


def atlas(folder, depths, *, unit=' units="um"', volts="1500", name="slice_{k:04}.tif"):
    """Write the images of a detector by ATLAS 3D, at depths in µm."""
    for k, (z, frame) in enumerate(zip(depths, VOLUME, strict=True)):
        xml = FIBICS.format(k=k, z=z, unit=unit, volts=volts)
        image(folder / name.format(k=k, z=z), frame, t51023=xml)
    return folder


@pytest.mark.parametrize("volts", ["1500", "1.5 kV", "1500 V"])
def test_read_images__atlas_images_tell_all_of_their_slices(tmp_path, volts):
    stack = read_images(atlas(tmp_path, (1.0, 1.0095, 1.021), volts=volts))
    np.testing.assert_array_equal(stack["intensity"][0], VOLUME)
    np.testing.assert_allclose(stack["z"], [1000, 1009.5, 1021])
    assert (float(stack["voltage"][0]), float(stack["y"][1])) == (1.5, pytest.approx(4.0))
    found = taken(stack)
    assert found["z"]["from"] == "z in the headers"
    assert found["stage"]["value"] == {"x_mm": 0.01, "z_mm": 4.5}
    assert (found["detector"]["value"], found["beam"]["value"]) == ("ESB", "electron")


def test_read_images__the_folder_of_an_atlas_job_holds_its_detectors(tmp_path):
    (tmp_path / "Atlas3D.a3d-setup").write_text(ATLAS)
    atlas(tmp_path / "ESB", (1.0, 1.01, 1.02), volts="1200")
    with pytest.warns(FibdaskWarning, match="Fibics Scan/U, V says 4 x 4, ATLAS .* says 5 x 4"):
        assert read_images(tmp_path)["z"].values.tolist() == [1000, 1010, 1020]
    atlas(tmp_path / "SE2", (1.0, 1.01, 1.02))
    with pytest.raises(StackReadError, match=r"2 series of images, .*: give .*/ESB or .*/SE2"):
        read_images(tmp_path)


def test_read_images__depths_in_names_and_headers_are_compared(tmp_path):
    name = "slice_{k:04}_z={z}um.tif"
    folder = atlas(tmp_path, (1.0, 1.01, 1.02), name=name)
    assert taken(read_images(folder))["z"]["from"] == "z in the file names"
    (folder / name.format(k=2, z=1.02)).rename(folder / name.format(k=2, z=1.03))
    with pytest.warns(FibdaskWarning, match="file names span 30 nm, those in the headers 20 nm"):
        assert float(read_images(folder)["z"][-1]) == 1030.0


def test_read_images__depths_that_do_not_increase_are_refused(tmp_path):
    with pytest.raises(StackReadError, match=r"slice_0001.tif says 1010 nm, .*0002.* 1005 nm"):
        read_images(atlas(tmp_path, (1.0, 1.01, 1.005)))


@pytest.mark.parametrize("unit", ["", ' units="steps"'])
def test_read_images__depths_without_a_unit_are_not_taken(tmp_path, unit):
    folder = atlas(tmp_path, (1.0, 1.01, 1.02), unit=unit)
    with pytest.raises(ConventionError, match=r"do not tell it; .*/ZPos is not taken"):
        read_images(folder)
    assert read_images(folder, slice_thickness=10)["z"].values.tolist() == [0, 10, 20]


def test_read_images__depths_that_only_some_slices_tell_are_not_taken(tmp_path):
    image(atlas(tmp_path, (1.0, 1.01, 1.02)) / "slice_0001.tif", VOLUME[1])
    with pytest.raises(ConventionError, match="2 of 3 slices tell their depth; it is not taken"):
        read_images(tmp_path, voltage=1.5, pixel_size=4)


def test_fibics_header__images_of_other_columns_than_were_scanned_are_told():
    header = fibics_header(FIBICS.format(k=0, z=1, unit="", volts=1000), 3)
    assert "3 columns, Fibics Image/Width says 6" in header.conflicts[0].text
    assert header.conflicts[0].others == pytest.approx((8.0,))


@pytest.mark.parametrize(("active", "thickness"), [("Distance", 12.0), ("Time", None)])
def test_atlas_header__jobs_of_newer_versions(tmp_path, active, thickness):
    path = tmp_path / "Atlas3D.a3d-setup"
    path.write_text(NEWER.format(active=active))
    header = atlas_header(path)
    assert (header.pixel_size_nm, header.voltage_kv) == ((5.0, 5.0), 1.5)
    assert (header.slice_thickness_nm, header.detector) == (thickness, "ESB")
