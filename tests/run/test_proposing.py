"""`fibdask init`: a recipe that tells what headers tell, and names what they do not."""

import tomllib

import numpy as np
import pytest
import tifffile

from fibdask import RecipeError, StackReadError, save_stack
from fibdask.run.planner import check_recipe
from fibdask.run.proposing import propose_recipe, write_recipe
from fibdask.run.recipe import read_recipe
from fibdask.run.versions import version_lines

FEI = (
    "[Beam]\r\nHV=2000\r\nBeam=EBeam\r\n[EBeam]\r\nHV=2000\r\n[Scan]\r\nPixelWidth=4e-9\r\n"
    "PixelHeight=4e-9\r\n[Image]\r\nResolutionX=44\r\nResolutionY=32\r\n"
)


def write_slices(folder, *, header=None, name="slice_{}", count=5, shape=(40, 44)):
    """Write slices, with what the microscope would have written to them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    tags = [] if header is None else [(34682, "s", 0, header, True)]
    for number in range(count):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        tifffile.imwrite(
            folder / f"{name.format(10 * number)}.tif", image, extratags=tags, metadata=None
        )
    return folder


def tables(text):
    return tomllib.loads(text)


def test_write_recipe__of_images_whose_headers_tell_all_can_be_run(call, tmp_path):
    write_slices(tmp_path / "slices", header=FEI, name="z_{}nm")
    out, _ = call("init", tmp_path / "slices", "--out", tmp_path / "recipe.toml")
    path = tmp_path / "recipe.toml"
    assert out == f"recipe: {path}\nthen: fibdask run {path}\n"
    text = (tmp_path / "recipe.toml").read_text()
    assert "# voltage = 2 " in text
    assert "# pixel_size = [4, 4]" in text
    assert "in the file names, 0 to 40 nm" in text
    assert tables(text)["input"] == {"path": "slices", "crop": {"y": [0, 32]}}
    assert tables(text)["title"] == "slices"
    check_recipe(tmp_path / "recipe.toml")


def test_write_recipe__in_a_folder_that_is_a_link_names_the_same_images(call, tmp_path):
    write_slices(tmp_path / "slices", header=FEI, name="z_{}nm")
    deep = tmp_path / "elsewhere" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "elsewhere" / "slices").mkdir()  # where ".." leads from the folder itself
    (tmp_path / "link").symlink_to(deep)
    call("init", tmp_path / "slices", "--out", tmp_path / "link" / "recipe.toml")
    check_recipe(tmp_path / "link" / "recipe.toml")


def test_write_recipe__what_no_header_tells_is_named_not_made_up(call, tmp_path):
    write_slices(tmp_path / "slices")
    out, _ = call("init", tmp_path / "slices", "--out", tmp_path / "mine.toml")
    keys = ["voltage", "pixel_size", "slice_thickness", "spacing"]
    told = "fill in, since nothing tells: voltage, pixel_size, slice_thickness and spacing"
    assert out.splitlines()[1] == told
    text = (tmp_path / "mine.toml").read_text()
    assert text.count("NEEDED") == len(keys)
    assert "# crop = { y = [0, 40] }" in text
    assert set(tables(text)["input"]) == {"path"}
    with pytest.raises(RecipeError, match=r"\[reposition\].*spacing"):
        read_recipe(tmp_path / "mine.toml")


def test_write_recipe__of_several_voltages_finds_each(tmp_path):
    for name, kilovolts in (("low", 1000), ("high", 2500)):
        write_slices(tmp_path / name, header=FEI.replace("HV=2000", f"HV={kilovolts}"))
    sources = [str(tmp_path / name) for name in ("high", "low")]
    text, needed = propose_recipe(sources, tmp_path / "recipe.toml")
    assert tables(text)["input"]["voltages"] == {"1": "low", "2.5": "high"}
    assert needed == ["slice_thickness"]
    with pytest.raises(RecipeError, match=r"headers of .*high tell 2\.5"):
        propose_recipe([sources[0]] * 2, tmp_path / "recipe.toml")


def test_propose_recipe__minds_detectors_that_differ_between_voltages(tmp_path):
    for name, kilovolts in (("TLD", 1000), ("ICD", 2500)):
        header = f"{FEI}[Detectors]\r\nName={name}\r\n".replace("HV=2000", f"HV={kilovolts}")
        write_slices(tmp_path / name, header=header)
    sources = [str(tmp_path / name) for name in ("TLD", "ICD")]
    text, _ = propose_recipe(sources, tmp_path / "recipe.toml")
    assert "# mind: the voltages mix images: detector of" in text


def test_propose_recipe__of_a_store_needs_nothing(stack, tmp_path):
    path = save_stack(stack.drop_vars("phase"), tmp_path / "gold.zarr")
    text, needed = propose_recipe([str(path)], tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_text(text)
    assert not needed
    assert tables(text)["reposition"]["spacing"] == 4
    check_recipe(tmp_path / "recipe.toml")


def test_propose_recipe__promises_no_cubic_voxels_of_oblong_pixels(stack, tmp_path):
    images, told = stack.drop_vars("phase"), ("cubic voxels", "that of the pixels along x; along y")
    for number, (height, expected) in enumerate(zip((4.0, 6.0), told, strict=True)):
        y = height * np.arange(images.sizes["y"])
        path = tmp_path / f"{number}.zarr"
        save_stack(images.assign_coords(y=("y", y, images.y.attrs)), path)
        text, _ = propose_recipe([str(path)], tmp_path / "recipe.toml")
        assert [words in text for words in told] == [words == expected for words in told]


def test_propose_recipe__forges_no_line(tmp_path):
    folder = write_slices(tmp_path / 'a"\n[output]\npath = "b')
    text, _ = propose_recipe([str(folder)], tmp_path / "recipe.toml")
    assert tables(text)["input"]["path"] == folder.name
    assert tables(text)["output"]["path"] == "recipe-out"


def test_write_recipe__overwrites_nothing_and_needs_images(tmp_path):
    (tmp_path / "recipe.toml").write_text("mine")
    with pytest.raises(RecipeError, match=r"recipe\.toml exists"):
        write_recipe([str(tmp_path)], tmp_path / "recipe.toml")
    with pytest.raises(StackReadError, match="no images"):
        write_recipe([str(tmp_path)], tmp_path / "other.toml")
    assert (tmp_path / "recipe.toml").read_text() == "mine"
    assert not (tmp_path / "other.toml").exists()


def test_check__looks_at_pixels_of_the_images(call, tmp_path):
    slices = write_slices(tmp_path / "slices", header=FEI, name="z_{}nm")
    colours = np.random.default_rng(1).integers(0, 256, (40, 44, 3), dtype=np.uint8)
    for file in slices.iterdir():
        tifffile.imwrite(file, colours, extratags=[(34682, "s", 0, FEI, True)], metadata=None)
    call("init", slices, "--out", tmp_path / "recipe.toml")
    assert "it is a colour image" in call("check", tmp_path / "recipe.toml", code=1)[1]


def test_check__of_a_folder_says_how_to_get_a_recipe(call, tmp_path):
    write_slices(tmp_path / "my slices")
    _, err = call("check", tmp_path / "my slices", code=2)
    assert f"`fibdask init '{tmp_path / 'my slices'}'` writes one for the images in it" in err
    (tmp_path / "my slices" / "recipe.toml").touch()
    assert "recipe.toml is that of the run in it" in call("run", tmp_path / "my slices", code=2)[1]


# What a report of a fault needs


def test_fibdask__version_tells_more_when_asked(call):
    out, _ = call("--version", "--verbose")
    assert out.splitlines() == list(version_lines())
    told = dict(line.split(" ", 1) for line in out.splitlines())
    assert told["dask"].split(".")[0].isdigit()
    assert "dask-cuda" in told["not"].removeprefix("installed: ").split(", ")
    assert {"GPU:", "Python", "processors:"} <= set(told)
    assert "--verbose belongs to --version" in call("--verbose", "plan", "x", code=2)[1]


def test_run__of_images_proposes_a_recipe_that_is_that_of_init(call, tmp_path):
    slices = write_slices(tmp_path / "slices", header=FEI, name="z_{}nm")
    out, told = call("run", slices, code=2)
    assert tables(out)["input"]["path"].endswith("slices")
    assert f"write it by `fibdask init {slices}`, and run it by `fibdask run recipe.toml`" in told


def test_run__of_images_names_what_the_recipe_still_needs(call, tmp_path):
    slices = write_slices(tmp_path / "slices")
    _, told = call("run", slices, code=2)
    assert "then fill in voltage, pixel_size, slice_thickness and spacing, and run" in told


@pytest.mark.parametrize("name", ["volume.tif", "volume.nii.gz"])
def test_run__of_a_file_of_images_takes_it_for_no_recipe(call, tmp_path, name):
    (tmp_path / name).write_bytes(b"neither")
    _, told = call("run", tmp_path / name, code=2)
    assert f"{name} is no recipe, and none can be proposed for it: " in told


def test_run__of_a_folder_without_images_says_so(call, tmp_path):
    _, told = call("run", tmp_path, code=2)
    assert f"{tmp_path} is no recipe, and none can be proposed for it: " in told
