"""The examples and the blocks of the README run, and give the figures that they should."""

import re
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fibdask
from docs import pages
from fibdask.run.folder import RunFolder
from fibdask.run.folder.results import reopen
from fibdask.run.recipe import read_recipe
from tests.pieces.models import CARD, MixModel, offer

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DATA = ROOT.parent / "shared" / "data"


def images(name):
    """Return the folder of a real data set, or skip."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real images are not here: no folder ../shared/data/{name}")
    return folder


def run(name, folder, **paths):
    """Run an example; return its last stack, its statistics and its report."""
    stack = fibdask.run_recipe(read_recipe(EXAMPLES / name, output_path=folder, **paths))
    _, statistics = reopen(RunFolder(folder))
    return stack, statistics, (folder / "report.html").read_text(encoding="utf-8")


# Recipes


@pytest.fixture(scope="module")
def ligaments(tmp_path_factory):
    """Folder, last stack, statistics and report of the first example."""
    folder = tmp_path_factory.mktemp("ligaments")
    return folder, *run("ligaments.toml", folder, input_path=images("ligaments"))


def test_ligaments__figures(ligaments):
    folder, stack, statistics, report = ligaments
    slices = fibdask.open_stack(folder / "segment.zarr")["phase"]
    assert float(slices.mean()) == pytest.approx(0.334, abs=5e-4)
    assert float(statistics["solid_fraction"]) == pytest.approx(0.334, abs=2e-3)
    assert np.diff(stack["z"]) == pytest.approx(40)
    assert int(stack["measured"].sum()) == slices.sizes["z"] == 130
    assert float(statistics["isotropy_error"].max()) < 0.05
    assert re.search(r'>2 kV\s*<span class="assumed">', report)


def test_fib25__figures(tmp_path):
    stack, statistics, report = run("fib25.toml", tmp_path, input_path=images("fib25"))
    grey = fibdask.open_stack(tmp_path / "import.zarr")["intensity"][0].values
    phase = stack["phase"].values
    assert grey[phase == 1].min() == grey[phase == 0].max() + 1
    assert float(statistics["solid_fraction"]) == pytest.approx(0.462, abs=1e-3)
    assert bool(stack["measured"].all())
    assert "Assumed, not measured:</strong> voltage = 1.2" in report


def test_synthetic__is_segmented_and_filled_well(tmp_path, monkeypatch, capsys):
    stack, statistics, report = run("synthetic.toml", tmp_path / "gold")
    assert float(statistics["misplaced"]) < 3
    assert float(statistics["solid_fraction"]) == pytest.approx(0.35, abs=0.02)
    assert statistics["ligament_diameter"].values == pytest.approx(60, rel=0.1)
    assert np.diff(stack["z"]) == pytest.approx(5)
    assert "Accuracy" in report
    monkeypatch.chdir(tmp_path)
    ((code, _),) = pages.blocks("start")
    exec(compile(code, "start.md", "exec"), {})
    printed = np.array(capsys.readouterr().out.strip("[]\n").split(), float)
    assert printed == pytest.approx(statistics["ligament_diameter"].values)
    assert Path("gold.png").is_file()


@pytest.mark.filterwarnings("ignore:slices are estimated to be")
def test_restoration__recipe_and_script_come_equally_close_to_the_truth(tmp_path, capsys):
    figures = script("restoration.py")()
    before, after, truth = (list(figures[name].values()) for name in ("before", "after", "truth"))
    moved, scale, thickness, misplaced, *isotropy = after
    assert moved < 0.5 < 10 < before[0]
    assert scale == pytest.approx(1, abs=0.08)
    assert thickness < before[2] / 3
    assert misplaced < before[3] / 8
    # The two-point correlation of the spoilt volume is near the truth by accident.
    assert isotropy[0] == pytest.approx(truth[1], abs=0.03)
    for spoilt, repaired, true in zip(before[5:], isotropy[1:], truth[2:], strict=True):
        assert abs(repaired - true) < abs(spoilt - true) / 4
    assert min(before[5:]) > 2 * max(isotropy[1:])
    assert "ligament diameter" in capsys.readouterr().out
    _, statistics, report = run("restoration.toml", tmp_path)
    assert float(statistics["misplaced"]) == pytest.approx(misplaced)
    assert statistics["isotropy_error"].values == pytest.approx(isotropy)
    assert '<section id="alignment">' in report


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes__are_read_without_their_images(path):
    recipe = read_recipe(path)
    assert recipe.tables["output"]["path"] == str(EXAMPLES / f"{path.stem}-out")
    assert recipe.title != path.stem


# The script


def script(name):
    return runpy.run_path(str(EXAMPLES / name))["main"]


def notebook():
    return script("notebook.py")


def test_notebook__gives_what_the_recipe_gives(ligaments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = notebook()(str(images("ligaments")))
    _, _, expected, _ = ligaments
    assert float(found["solid_fraction"]) == float(expected["solid_fraction"])
    shorter = expected["lineal_path"].isel(lag=slice(33)).values
    assert np.array_equal(found["lineal_path"].values, shorter)


def test_notebook__simulates_where_there_are_no_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = notebook()()
    assert float(found["solid_fraction"]) == pytest.approx(0.334, abs=0.02)
    assert "planes hold no slice" in capsys.readouterr().out


def test_monte_carlo__writes_all_four_panels(tmp_path, capsys):
    table = tmp_path / "measured.csv"
    table.write_text("# element,source,E_keV,eta\nAu,Anybody(cleaned,UHV),2,.45\nXx,Nobody,1,.2\n")
    main = runpy.run_path(str(EXAMPLES / "monte_carlo.py"))["main"]
    page = main(str(tmp_path / "page.html"), electrons=500, size=16, measured=str(table))
    text = page.read_text(encoding="utf-8")
    sections = ["trajectories", "backscatter", "images", "shine_through"]
    assert re.findall(r'<section id="(\w+)">', text) == sections
    assert re.search(r'<td>Au</td><td class="number">1</td>', text)
    half = [float(d) for d in re.findall(r"([\d.]+) nm at \d kV", text)]
    assert 4 < half[0] < 10 < half[1] < 35 < half[2] < 120
    assert "come back from gold" in capsys.readouterr().out


def test_reconstruct__errs_less_by_a_network_on_slices_and_between(capsys):
    if "windows" not in set(fibdask.list_models().get("task", [])):
        pytest.skip("no model for images ships")
    found = script("reconstruct.py")(size=64)
    for part, wrong in found["network"].items():
        assert wrong < 0.8 * found["k-means and distance"][part]
    assert "planes hold a slice" in capsys.readouterr().out


# README


def readme(language, number=0):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number]


@pytest.fixture
def slices(tmp_path):
    """Images and depths as the README has them."""
    ligaments = fibdask.levelled_wave(
        (60, 80, 80), voxel_size=5, ligament_size=50, solid_fraction=0.4, seed=4
    )
    milled = fibdask.mimic_milling(ligaments, mean_thickness=12, std_thickness=3, seed=4)
    stack = fibdask.simulate_images(ligaments, slices=milled, voltage=2.0, model="analytic", seed=4)
    (tmp_path / "slices").mkdir()
    for number, image in enumerate(stack["intensity"].values[0]):
        Image.fromarray(image).save(tmp_path / "slices" / f"slice_{number:04}.png")
    rows = [f"{number},{z}" for number, z in enumerate(stack["z"].values)]
    (tmp_path / "depths.csv").write_text("\n".join(["slice,z_nm", *rows]))
    return tmp_path


def test_readme__recipe_and_python_give_the_same(slices, monkeypatch):
    monkeypatch.chdir(slices)
    Path("recipe.toml").write_text(readme("toml"), encoding="utf-8")
    stack = fibdask.run_recipe("recipe.toml")
    exec(compile(readme("python"), "README.md", "exec"), {})
    assert stack["phase"].equals(fibdask.open_stack("gold.zarr")["phase"])
    assert Path("gold/report.html").is_file()


def test_readme__reconstructs_the_volume_of_the_same_slices(slices, monkeypatch):
    monkeypatch.chdir(slices)
    offer(monkeypatch, MixModel(CARD))
    exec(compile(readme("python", 1), "README.md", "exec"), {})
    volume = fibdask.open_stack("volume.zarr")
    assert {"phase", "solid_probability", "measured"} <= set(volume.variables)
    assert np.diff(volume["z"]) == pytest.approx(2.5)


def test_readme__is_short_and_so_are_its_blocks():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 115  # a page
    assert len(readme("toml").splitlines()) <= 15
    assert len(readme("python").splitlines()) <= 10
    assert set(tomllib.loads(readme("toml"))) >= {"input", "segment", "statistics", "output"}
