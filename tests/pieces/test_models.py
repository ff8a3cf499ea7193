"""Models are found by name or by what fits a stack; what does not fit is refused in a sentence."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning, build_stack, record_step
from fibdask.pieces.models import find_model, find_phase_model
from fibdask.pieces.validity import model_channels, shown_every, shown_pixel
from tests.pieces.models import CARD, MixModel, offer


def stack_of(voltage=(1.0, 2.0), pixel_size=(3.0, 3.0), z=(0.0, 8.0, 20.0)):
    image = np.zeros((len(voltage), len(z), 4, 5), np.uint8)
    return build_stack(
        {"intensity": image},
        z=np.array(z),
        pixel_size=pixel_size,
        nominal_thickness=10.0,
        voltage=np.array(voltage),
    )


def model(**card):
    return MixModel(CARD | card)


def test_model_channels__are_the_nearest_voltages():
    card = CARD | {"voltages": [1.0, 2.0, 4.0]}
    assert model_channels(card, stack_of((2.05, 3.9))) == [1, 2]
    assert model_channels(card, stack_of((0.98, 1.02, 3.0))) == [0, None, None]


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ({"voltage": (1.0, 3.0)}, r"mix sees images of 1, 2 kV, each once; the stack has 3 kV"),
        ({"voltage": (0.99, 1.01)}, r"the stack has 1\.01 kV: choose a voltage"),
        ({"pixel_size": (3.0, 6.0)}, r"on pixels of 2 to 5 nm; those .* 6 nm along x: resample"),
        ({"pixel_size": (1.9, 3.0)}, r"1\.9 nm along y"),
        ({"z": (0.0, 4.0, 9.0)}, r"slices of 5 to 20 nm on average; .* 4\.5 nm thick"),
        ({"z": (0.0, 30.0)}, r"30 nm thick: check the depths"),
    ],
)
def test_find_model__refuses_a_stack_that_it_was_not_trained_for(monkeypatch, stack, words):
    offer(monkeypatch, model())
    with pytest.raises(ConventionError, match=words):
        find_model("mix", stack_of(**stack))


@pytest.mark.parametrize(
    "stack",
    [{}, {"voltage": (2.1,)}, {"pixel_size": (2.0, 5.0)}, {"z": (0.0,)}, {"z": (0.0, 5.0)}],
)
def test_find_model__takes_a_stack_that_lies_in_its_ranges(monkeypatch, stack):
    offer(monkeypatch, model())
    assert find_model("mix", stack_of(**stack)).name == "mix"


def test_find_model__counts_measured_slices_only(monkeypatch):
    offer(monkeypatch, model())
    stack = stack_of(z=(0.0, 4.0, 8.0, 12.0))
    measured = ("z", np.array([True, False, True, True]))
    assert find_model("mix", stack.assign_coords(measured=measured)).name == "mix"
    with pytest.raises(ConventionError, match="4 nm thick"):
        find_model("mix", stack)


def test_find_model__refuses_another_task(monkeypatch):
    offer(monkeypatch, model(task="inpainting"))
    with pytest.raises(ConventionError, match="is for inpainting, not for images of slices"):
        find_model("mix", stack_of())


def test_find_model__by_its_name_is_checked(monkeypatch):
    offer(monkeypatch, model(), model(name="coarse", pixel_size=[10, 20]))
    assert find_model("mix", stack_of()).name == "mix"
    with pytest.raises(ConventionError, match="coarse was trained on pixels of 10 to 20 nm"):
        find_model("coarse", stack_of())
    with pytest.raises(ConventionError, match="no model 'other'"):
        find_model("other", stack_of())


def test_find_model__auto_takes_few_voltages_then_the_smallest_error(monkeypatch):
    offered = [
        model(name="three", voltages=[1, 2, 4], errors={"misplaced": 0.5}),
        model(name="worse", errors={"misplaced": 3.0}),
        model(name="better", errors={"misplaced": 2.0}),
        model(name="elsewhere", errors={"misplaced": 0.1}, pixel_size=[10, 20]),
        model(name="single", voltages=[2], errors={"misplaced": 4.0}),
        model(name="filler", task="inpainting", errors={"misplaced": 0.0}),
    ]
    offer(monkeypatch, *offered)
    assert find_model("auto", stack_of()).name == "better"
    assert find_model("auto", stack_of((2.0,))).name == "single"
    assert find_model("auto", stack_of((4.0,))).name == "three"
    with pytest.raises(
        ConventionError, match=r"no .* fits this stack: each of three, worse, better .*; single .*"
    ) as told:
        find_model("auto", stack_of(pixel_size=(7.0, 7.0)))
    assert "filler" not in str(told.value)
    with pytest.raises(ConventionError, match=r"^no model .* fits these planes: none ships$"):
        find_phase_model("auto", 3.0)


def test_find_model__tells_of_what_was_simulated_for_others(monkeypatch):
    materials = {"pore": "epoxy", "solid": "Au"}
    offer(monkeypatch, model(electrons_per_pixel=[10, 100], materials=materials))
    simulated = {"electrons_per_pixel": 50.0, "materials": materials}
    stack = record_step(stack_of(), "simulate_images", simulated, "")
    assert find_model("mix", stack).name == "mix"
    more = record_step(stack, "add_noise", {"electrons_per_pixel": 150.0}, "")
    assert find_model("mix", more).name == "mix"
    fewer = record_step(stack, "add_noise", {"electrons_per_pixel": 5.0}, "")
    with pytest.warns(FibdaskWarning, match="mix was trained on 10 to 100 .*; .* have 5: it may"):
        find_model("mix", fewer)
    other = simulated | {"materials": materials | {"solid": "Al"}}
    with pytest.warns(FibdaskWarning, match="images of epoxy and Au; these are of epoxy and Al:"):
        find_model("auto", record_step(stack, "simulate_images", other, ""))


def test_find_model__auto_takes_the_one_that_knows_the_materials(monkeypatch):
    pairs = [{"pore": "epoxy", "solid": solid} for solid in ("Au", "Al", "Si")]
    several = {"materials": pairs[0], "other_materials": pairs[1:2]}
    one = model(name="gold", materials=pairs[0])
    offer(monkeypatch, one, model(name="several", errors={"misplaced": 2.0}, **several))

    def of(pair):
        return record_step(stack_of(), "simulate_images", {"materials": pair}, "")

    assert find_model("auto", stack_of()).name == "gold"
    assert find_model("auto", of(pairs[0])).name == "gold"
    assert find_model("auto", of(pairs[1])).name == "several"
    told = "several was trained on images of epoxy and Au, or of epoxy and Al; these are of .* Si"
    with pytest.warns(FibdaskWarning, match=told):
        find_model("several", of(pairs[2]))


RESAMPLED = {"pixel_size": [1.0, 8.0], "thickness": [2.0, 20.0]}


@pytest.mark.parametrize(
    ("size", "shown"), [(1.0, 2.0), (1.5, 2.0), (2.0, 2.0), (5.0, 5.0), (8.0, 2.0), (0.9, 0.9)]
)
def test_shown_pixel__is_the_finest_that_is_known_where_the_card_allows(size, shown):
    assert shown_pixel(CARD | {"resampled": RESAMPLED}, size) == shown
    assert shown_pixel(CARD, size) == size


@pytest.mark.parametrize(("step", "every"), [(6.0, 1), (3.0, 2), (2.0, 3), (1.9, 1), (25.0, 1)])
def test_shown_every__leaves_slices_out_where_they_are_thin(step, every):
    stack = stack_of(z=step * np.arange(4))
    assert shown_every(CARD | {"resampled": RESAMPLED}, stack) == every
    assert shown_every(CARD, stack) == 1


def test_find_model__says_what_is_resampled(monkeypatch):
    offer(monkeypatch, model(resampled=RESAMPLED))
    with pytest.warns(FibdaskWarning, match=r"mix .* 2 to 5 nm; .* 1\.5 nm along y: .* to 2 nm"):
        find_model("mix", stack_of(pixel_size=(1.5, 3.0)))
    with pytest.warns(FibdaskWarning, match="are 3 nm thick: around each of them, one of 2 is"):
        find_model("mix", stack_of(z=(0.0, 3.0, 6.0)))
    with pytest.raises(ConventionError, match="9 nm along x, and it may be resampled from 1 to 8"):
        find_model("mix", stack_of(pixel_size=(3.0, 9.0)))
    with pytest.raises(ConventionError, match="30 nm thick, and it may be resampled from 2 to 20"):
        find_model("mix", stack_of(z=(0.0, 30.0)))
