"""The network that takes the place of Monte Carlo: pairs, what it is told, training and judging."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import fibdask
from fibdask.conventions import ConventionError, RecipeError
from fibdask.learn.folder import CARD, TEST_PAIR, USED_WITH
from fibdask.learn.simulation.bulks import GRID, MATERIALS
from fibdask.learn.simulation.making import ImageErrors
from fibdask.learn.simulation.networks import ImageArchitecture
from fibdask.learn.simulation.pairs import PairStore, Scenes
from fibdask.learn.simulation.samples import ImageBatch, ImageSamples, image_sample
from fibdask.simulate import levelled_wave, simulate_images
from fibdask.simulate.images.layers import RUNS, Layers
from tests.learn.helpers import without_torch

LAYERS = Layers()
SCENES = Scenes(count=2, side=32, images=2, electrons_per_pixel=20, seed=7)
RECIPE = {
    "pairs": {
        "count": 2,
        "side": 32,
        "images": 2,
        "electrons_per_pixel": 10,
        "unseen_count": 2,
        "unseen_electrons": 20,
        "unseen_seed": 5,
        "bulk_electrons": 500,
    },
    "network": {"widths": [4, 4, 4], "detail": 4},
    "training": {"steps": 3},
    "output": {"name": "tiny"},
}


def silent(*_figures):
    return None


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    store = PairStore(tmp_path_factory.mktemp("pairs"), SCENES, LAYERS)
    store.make(silent)
    return store


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    return fibdask.load_model(fibdask.train(RECIPE, output_path=path))


def network():
    torch.manual_seed(1)
    made = ImageArchitecture(widths=(4, 4, 4), detail=4).build()
    made.bulk.copy_(torch.linspace(0.05, 0.5, made.bulk.numel()).reshape(made.bulk.shape))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def test_pairs__are_made_once(pairs):
    files = sorted(pairs.folder.glob("*.npz"))
    before = [file.stat().st_mtime_ns for file in files]
    more = replace(pairs, scenes=replace(SCENES, count=3))
    files[0].unlink()
    more.make(silent)
    assert [file.stat().st_mtime_ns for file in files[1:]] == before[1:]
    assert len(list(pairs.folder.glob("*.npz"))) == 3


def test_pairs__of_another_kind_are_refused(pairs):
    other = replace(pairs, scenes=replace(SCENES, seed=8))
    with pytest.raises(ConventionError, match="holds other pairs"):
        other.make(silent)


def test_pairs__count_as_many_electrons_as_come_back(pairs):
    found = pairs[1]
    assert found.seen.shape == (2, len(LAYERS.edges) + RUNS, 32, 32)
    assert found.counts.dtype == np.uint16
    assert 0.02 < found.counts.mean() / found.electrons < 0.5
    assert set(found.materials) <= set(MATERIALS)


def test_samples__are_turned_with_their_pixels(pairs):
    given = replace(pairs[0], pixel_size=(2.0, 2.5))
    straight, turned = (image_sample(given, 0, 8, turns) for turns in (0, 4))
    np.testing.assert_array_equal(turned.share, straight.share.T)
    np.testing.assert_array_equal(turned.shown, straight.shown.swapaxes(1, 2))
    assert turned.pixel_size == (2.5, 2.0)
    mirrored = image_sample(given, 0, 8, turns=1)
    np.testing.assert_array_equal(mirrored.share, straight.share[::-1])


def test_samples__depend_on_seed_and_number_alone(pairs):
    scenes = [pairs[0], pairs[1]]
    one, same, other = (ImageSamples(scenes, 8, seed)[5] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.share, same.share)
    assert one.share.shape == other.share.shape
    assert not np.array_equal(one.share, other.share)


def test_image_network__sees_as_far_as_its_halo():
    own = network()
    for parameter in own.parameters():
        torch.nn.init.constant_(parameter, 0.03)  # so that nothing cancels out
    known = own.describe(torch.tensor([2.0]), torch.tensor([[2.5, 2.5]]), [("epoxy", "Au")])
    shown = torch.ones(1, len(LAYERS.edges) + RUNS + 1, 208, 8, requires_grad=True)
    farthest = 0
    for pixel in range(96, 104):
        (slopes,) = torch.autograd.grad(own(shown, known)[0, pixel, 4], shown)
        seen = np.flatnonzero(slopes.abs().sum((0, 1, 3)))
        farthest = max(farthest, pixel - seen[0], seen[-1] - pixel)
    halo = own.architecture.halo
    assert halo - own.architecture.stride < farthest <= halo


def test_image_network__bulks_lie_on_lines_between_those_of_the_table():
    own = network()
    middle = float(np.sqrt(GRID[3] * GRID[4]))
    pore, solid = own.bulks(
        torch.tensor([GRID[3], middle]).float(), [("PMMA", "Cu"), ("epoxy", "Ag")]
    )
    table = own.bulk.numpy()
    at = [MATERIALS.index(name) for name in ("PMMA", "Cu", "epoxy", "Ag")]
    assert (float(pore[0]), float(solid[0])) == pytest.approx((table[at[0], 3], table[at[1], 3]))
    means = (table[at[2], 3:5].mean(), table[at[3], 3:5].mean())
    assert (float(pore[1]), float(solid[1])) == pytest.approx(means)


def test_image_architecture__of_a_card_that_tells_no_materials_knows_the_first_three_solids():
    card = ImageArchitecture().as_card()
    assert ImageArchitecture.of_card(card) == ImageArchitecture()
    del card["pores"], card["solids"]
    own = ImageArchitecture.of_card(card).build()
    assert own.architecture.materials == ("epoxy", "PMMA", "vacuum", "Au", "Ag", "Cu")
    assert own.bulk.shape[0] == 6
    kinds = own.describe(torch.tensor([2.0]), torch.tensor([[2.5, 2.5]]), [("PMMA", "Cu")])[0, 6:]
    assert kinds.tolist() == [0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_image_errors__do_not_count_the_noise_of_electrons(pairs, bias, monkeypatch):
    own, rng = network(), np.random.default_rng(0)
    truth = np.full((32, 32), 0.3)
    samples = [
        replace(image_sample(pairs[0], 0, 16), share=(rng.poisson(50 * truth) / 50).astype("f4"))
        for _ in range(20)
    ]

    def brightness(batch, network, *, precisely):
        pore, solid = network.bulks(batch.voltage, batch.materials)
        return (torch.as_tensor(truth, dtype=torch.float32) - pore) / (solid - pore) + bias

    monkeypatch.setattr(ImageBatch, "brightness", brightness)
    errors = ImageErrors.of(own, samples, 50)
    pore, solid = own.bulks(torch.tensor([samples[0].voltage]), [samples[0].materials])
    noise = 100 * (0.3 / 50) ** 0.5 / float(solid - pore)
    assert errors.rms == pytest.approx(100 * bias, abs=0.3 * noise)
    assert (errors.solid, errors.pore) == pytest.approx((100 * bias,) * 2, abs=0.1 * noise)


@pytest.mark.parametrize(("bright", "weight"), [(1.0, 1.0), (0.5, 2.0), (0.05, 1 / 0.15)])
def test_image_batch__weighs_errors_by_how_little_dark_counts_vary(
    pairs, bright, weight, monkeypatch
):
    own = network()
    batch = ImageBatch.of([image_sample(pairs[0], 0, 16)], torch.device("cpu"))
    pore, solid = own.bulks(batch.voltage, batch.materials)
    said = ((bright * solid - pore) / (solid - pore)).expand_as(batch.share)
    monkeypatch.setattr(ImageBatch, "brightness", lambda *_: said)
    monkeypatch.setattr(ImageBatch, "seen", lambda *_: said + 0.1)
    assert float(batch.loss(own)) == pytest.approx(weight * 0.01, rel=1e-4)


def test_train__makes_a_model_that_simulates(model, tmp_path):
    assert model.card["task"] == "simulation"
    assert model.card["errors"]["conditions"]
    assert (model.folder / "report.html").stat().st_size > 1000
    phase = levelled_wave(
        (20, 40, 40), voxel_size=2.5, ligament_size=20, solid_fraction=0.3, seed=1
    )
    given = {"model": "learned", "network": str(model.folder), "seed": 0}
    stack = simulate_images(phase, voltage=[1.5, 3], slices=[0.0, 12.5], **given).compute()
    assert stack.intensity.shape == (2, 2, 40, 40)
    assert json.loads(stack.attrs["provenance"][-1])["parameters"]["network"] == "tiny"


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"voltage": 6.0}, "was trained for 0.8 to 5 kV; got 6 kV"),
        ({"materials": {"pore": "epoxy", "solid": "C"}}, "a solid of .*, Al, Si; got C"),
        ({"materials": {"pore": "C", "solid": "Au"}}, "a pore of epoxy, PMMA, vacuum; got C"),
        ({"network": "gold-windows"}, "is for windows, not for simulating images"),
    ],
)
def test_simulate_images__refuses_what_the_network_does_not_know(model, changed, fault):
    phase = levelled_wave((9, 9, 9), voxel_size=2.5, ligament_size=20, solid_fraction=0.3, seed=1)
    given = {"voltage": 2, "model": "learned", "network": str(model.folder), "seed": 0} | changed
    with pytest.raises(ConventionError, match=fault):
        simulate_images(phase, **given)


@pytest.mark.parametrize(
    ("size", "fault"), [((2.5, 5, 5), "pixels of 1.8 to 4.4 nm"), ((2.5, 2, 3), "1.5 times")]
)
def test_simulate_images__refuses_pixels_that_the_network_does_not_know(model, size, fault):
    phase = levelled_wave((9, 9, 9), voxel_size=size, ligament_size=20, solid_fraction=0.3, seed=1)
    with pytest.raises(ConventionError, match=fault):
        simulate_images(phase, voltage=2, model="learned", network=str(model.folder), seed=0)


def test_load_model__refuses_a_network_of_images_that_says_something_else(model, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model.folder.glob("*.*"):
        (copy / file.name).write_bytes(file.read_bytes())
    pair = load_file(copy / TEST_PAIR)
    save_file(pair | {"coefficient": pair["coefficient"] + 0.01}, copy / TEST_PAIR)
    card = json.loads((copy / CARD).read_text())
    card |= {"temperature": 2.0, USED_WITH: None}  # of no model that was loaded before
    (copy / CARD).write_text(json.dumps(card))
    with pytest.raises(ConventionError, match="does not predict what it should"):
        fibdask.load_model(copy)


def test_train__refuses_to_judge_by_what_was_learnt(tmp_path):
    recipe = RECIPE | {"pairs": RECIPE["pairs"] | {"seed": 5}}
    with pytest.raises(RecipeError, match="seed and unseen_seed must differ"):
        fibdask.train(recipe, output_path=tmp_path / "tiny")


def test_simulate_images__without_torch_names_the_extra():
    code = (
        "import fibdask\n"
        "phase = fibdask.levelled_wave((9, 9, 9), voxel_size=2.5, ligament_size=20,"
        " solid_fraction=0.3, seed=1)\n"
        "try:\n"
        "    fibdask.simulate_images(phase, voltage=2, model='learned', seed=0)\n"
        "except fibdask.ConventionError as error:\n"
        "    print(error)\n"
    )
    out, _ = without_torch(code)
    assert "install fibdask[learn]" in out
