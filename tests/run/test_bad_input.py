"""What a user does wrong: one clear sentence, the right exit code, nothing that looks whole."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from fibdask import open_stack, save_stack
from tests.run.helpers import fibdask, write_recipe

pytestmark = pytest.mark.cluster


def write_slices(folder, count=5, shape=(40, 44)):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(image).save(folder / f"slice_{number:03}.png")
    return folder


def write_input_recipe(tmp_path, *, keys="slice_thickness = 10", stages=""):
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'[input]\npath = "images"\nvoltage = 2\npixel_size = [5, 5]\n{keys}\n'
        f'[segment]\nmethod = "otsu"\n{stages}[cluster]\nworkers = 1\n[output]\npath = "out"\n'
    )
    return path


@pytest.fixture
def assert_refused(call, tmp_path):
    """Check that a run is refused with these words and that nothing is stored."""

    def check(*words, code=1, arguments=()):
        _, err = call("run", tmp_path / "recipe.toml", *arguments, "--quiet", code=code)
        for word in words:
            assert word in err
        assert not list((tmp_path / "out").glob("*.zarr"))

    return check


def test_run__empty_folder(assert_refused, tmp_path):
    (tmp_path / "images").mkdir()
    write_input_recipe(tmp_path)
    assert_refused("holds no images")


def test_run__slices_of_different_shape(assert_refused, tmp_path):
    write_slices(tmp_path / "images")
    Image.fromarray(np.zeros((30, 44), np.uint8)).save(tmp_path / "images" / "slice_002.png")
    write_input_recipe(tmp_path)
    assert_refused("slice_002.png", "30", "40")


def test_run__slices_of_different_dtype(assert_refused, tmp_path):
    write_slices(tmp_path / "images")
    Image.fromarray(np.zeros((40, 44), np.uint16)).save(tmp_path / "images" / "slice_002.png")
    write_input_recipe(tmp_path)
    assert_refused("slice_002.png", "uint16", "uint8")


def test_run__unreadable_slice_is_a_failed_block_that_names_it(tmp_path):
    images = write_slices(tmp_path / "images", shape=(300, 300))
    bad = images / "slice_003.png"
    bad.write_bytes(bad.read_bytes()[:5000])
    write_input_recipe(tmp_path)
    _, err = fibdask("run", tmp_path / "recipe.toml", "--quiet", code=1)
    assert "slice_003.png" in err
    with pytest.raises(OSError, match="incomplete"):
        open_stack(tmp_path / "out" / "import.zarr")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("slice,z_nm\n0,0\n1,9\n2,8\n3,30\n4,40\n", "must be strictly increasing; slice 2"),
        ("z_nm\n0\n10\n20\n", "5"),
        ("thickness_nm\n10\n10\nnan\n10\n10\n", "slice 2"),
        ("z_furlong\n0\n10\n20\n30\n40\n", "furlong"),
    ],
)
def test_run__bad_table_of_depths(assert_refused, tmp_path, table, message):
    write_slices(tmp_path / "images")
    (tmp_path / "z.csv").write_text(table)
    write_input_recipe(tmp_path, keys='z = "z.csv"')
    assert_refused(message)


def test_run__unknown_recipe_key_names_the_nearest(assert_refused, tmp_path):
    write_slices(tmp_path / "images")
    write_input_recipe(tmp_path, stages="clases = 3\n")
    assert_refused("unknown key 'clases' in [segment]; did you mean 'classes'?", code=2)


def test_run__unknown_table_names_the_nearest(assert_refused, tmp_path):
    write_input_recipe(tmp_path, stages="[inpant]\n")
    assert_refused("unknown table [inpant]; did you mean 'inpaint'?", code=2)


def test_run__wrong_value_names_key_and_value(assert_refused, tmp_path):
    write_input_recipe(tmp_path, stages='classes = "many"\n')
    assert_refused("[segment] classes = 'many'", code=2)


def test_run__recipe_that_is_no_toml(assert_refused, tmp_path):
    (tmp_path / "recipe.toml").write_text("[input\n")
    assert_refused("is not valid TOML", code=2)


def test_run__output_path_that_is_something_else(assert_refused, tmp_path):
    write_slices(tmp_path / "images")
    write_input_recipe(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    assert_refused("exists and is not the folder of a run")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"


def test_run__memory_budget_too_small(assert_refused, tmp_path):
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace('"2 GiB"', '"300 MiB"'))
    assert_refused("the worker has 300.0 MiB")


def test_run__corrupt_store(assert_refused, tmp_path, stack):
    path = save_stack(stack, tmp_path / "images")
    (path / "intensity" / "zarr.json").write_text("{}")
    (tmp_path / "recipe.toml").write_text(
        '[input]\npath = "images"\n[segment]\nmethod = "otsu"\n[output]\npath = "out"\n'
    )
    assert_refused("intensity/zarr.json is not what was written")


def test_run__no_scheduler_answers(assert_refused, tmp_path):
    write_recipe(tmp_path)
    assert_refused("no Dask scheduler answers", code=2, arguments=("--scheduler", "nonsense"))


def test_run__wrong_usage_exits_with_two(call):
    _, err = call("run", code=2)
    assert "RECIPE" in err


def test_run__full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted as root")
    try:
        recipe = write_recipe(tmp_path, size=128)
        _, err = fibdask("run", recipe, "--out", disk / "out", "--quiet", code=1)
        assert "No space left on device" in err
        with pytest.raises(OSError, match=r"incomplete|cannot be read"):
            open_stack(disk / "out" / "simulate.zarr")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
