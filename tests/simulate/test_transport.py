import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit, typeof
from numba.typed import List

from fibdask.conventions import ConventionError
from fibdask.simulate import backscatter_coefficient
from fibdask.simulate.electrons._kernels.transport import (
    advance,
    draw_electrons,
    empty_lanes,
    energy_index,
    send_electrons,
    struck,
    without_aliases,
)
from fibdask.simulate.electrons.elastic import mean_free_paths
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.records import DISTANCE_BITS, LARGEST_DISTANCE, Acceptance, Place
from fibdask.simulate.electrons.transport import (
    Illumination,
    loss_scale,
    mean_loss,
    pack_structure,
    stopping_power,
)
from tests.simulate.naive_transport import (
    atoms_of,
    distances_to_other_labels,
    send_one_by_one,
    share_that_comes_out,
)

EVERYTHING = Acceptance(np.float32(0), np.float32(-1))
PLACE = Place(np.uint64(7), 0, 0, 0, 0)
EPOXY_GOLD = (MATERIALS["epoxy"], MATERIALS["Au"])


def sponge(shape=(20, 12, 17), seed=0):
    """Labels 0 and 1 in lumps of a few voxels."""
    lumps = np.random.default_rng(seed).random([-(-n // 3) for n in shape]) < 0.4
    return np.kron(lumps, np.ones((3, 3, 3)))[tuple(slice(n) for n in shape)].astype(np.uint8)


def setting(labels, voxel_size, materials=EPOXY_GOLD, **illumination):
    """Arguments of `send_electrons` up to the electrons."""
    sent = Illumination(**({"energy_ev": 1000.0} | illumination))
    structure = pack_structure(labels, voxel_size, deepest=2**20)
    return structure, sent.tables(materials), sent.beam(voxel_size), EVERYTHING, PLACE


def send(arguments, shape, mean, function=send_electrons):
    """Numbers of electrons on pixels, and of those that come out."""
    electrons, counts = np.empty(shape, np.int32), np.zeros(shape, np.int32)
    draw_electrons(PLACE, mean, electrons)
    last = np.zeros(4, int) if function is send_one_by_one else np.empty((0, 7), np.float32)
    function(*arguments, electrons, counts, last)
    return electrons, counts


def share(labels, voxel_size, electrons=100_000, **illumination):
    shape = labels.shape[1:]
    arguments = setting(labels, voxel_size, **illumination)
    sent, counts = send(arguments, shape, electrons / np.prod(shape))
    return counts.sum() / sent.sum()


@pytest.mark.parametrize(
    ("name", "energy", "loss"),
    [("Au", 1000, 54.905), ("C", 4000, 9.324), ("epoxy", 1000, 15.425), ("PMMA", 200, 41.047)],
)
def test_stopping_power__is_that_of_joy_and_luo(name, energy, loss):
    found = stopping_power(MATERIALS[name], np.array([energy]))
    assert found[0] == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("name", ["Au", "epoxy"])
def test_transport_tables__keep_the_mean_free_paths(name):
    material = MATERIALS[name]
    tables = Illumination(4000.0).tables((material,))
    cosines = tables.cosine.reshape(-1, tables.angles)
    shares = np.diff(np.linspace(0, 1, tables.angles + 1) ** 2)
    found = (1 - cosines.astype(float)) @ shares
    energies = _energies_of(tables, len(found))
    inside = (energies > 60) & (energies < 4000)
    total, transport = mean_free_paths(material, energies[inside])
    np.testing.assert_allclose(found[inside], total / transport, rtol=0.01)


def _energies_of(tables, count):
    words = (tables.first_angle_energy + np.arange(count, dtype=np.int32)) << 19
    return words.astype(np.int32).view(np.float32).astype(float)


@pytest.mark.interpreted
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    kinds=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_pack_structure__holds_materials_and_distances(shape, kinds, seed):
    lumps = np.random.default_rng(seed).integers(0, kinds, [-(-n // 5) for n in shape], np.uint8)
    labels = np.kron(lumps, np.ones((5, 5, 5), np.uint8))[tuple(slice(n) for n in shape)]
    structure = pack_structure(labels, (1, 1, 1), deepest=9)
    packed = structure.words.view(np.uint8)[: labels.size].reshape(shape)
    np.testing.assert_array_equal(packed >> DISTANCE_BITS, labels)
    distances = distances_to_other_labels(labels, LARGEST_DISTANCE)
    np.testing.assert_array_equal(packed & LARGEST_DISTANCE, distances)


@pytest.mark.parametrize("energy", [60.0, 1000.0, 20_000.0])
def test_mean_loss__is_that_of_the_distribution(energy):
    loss = np.linspace(0, energy, 200_001)
    density = loss / (loss_scale(MATERIALS["Au"]) + loss**2) ** 2
    expected = (loss * density).sum() / density.sum()
    assert mean_loss(MATERIALS["Au"], np.array([energy]))[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["Au", "epoxy"])
def test_struck__loses_as_much_on_average_as_is_lost_along_the_way(name):
    material, energy = MATERIALS[name], np.float32(1000)
    tables = Illumination(2000.0, losses="discrete").tables((material,))
    share = tables.elastic_share[energy_index(tables, energy)]
    chances = (np.arange(20_000, dtype=np.float32) + np.float32(0.5)) / np.float32(20_000)
    far, free, flown = np.float32(1e9), np.float32(1), np.float32(0)
    flights = [struck(tables, np.int32(0), energy, far, free, chance, flown) for chance in chances]
    path, collides, scatters, left, _, _ = np.array(flights).T
    assert collides.all()
    assert scatters.mean() == pytest.approx(share, abs=1e-4)
    elastic, _ = mean_free_paths(material, np.array([energy]))
    assert path.mean() / scatters.mean() == pytest.approx(elastic[0], rel=0.01)
    loss = (energy - left).mean() / path.mean()
    assert loss == pytest.approx(stopping_power(material, np.array([energy]))[0], rel=0.02)
    assert left.min() >= 0


@pytest.mark.parametrize("illumination", [{"losses": "discrete"}, {"tilt": 50.0, "diameter": 9.0}])
@pytest.mark.parametrize("other", ["epoxy", "vacuum"])
def test_send_electrons__equals_one_after_the_other_bit_for_bit(other, illumination):
    labels = sponge()
    materials = (MATERIALS[other], MATERIALS["Au"])
    arguments = setting(labels, (3.0, 2.0, 2.5), materials, **illumination)
    arguments = (arguments[0]._replace(deepest=np.int32(40)), *arguments[1:])
    _, counts = send(arguments, labels.shape[1:], 20)
    _, expected = send(arguments, labels.shape[1:], 20, send_one_by_one)
    np.testing.assert_array_equal(counts, expected)


def test_send_electrons__gives_up_only_electrons_that_cannot_come_out():
    structure, tables, *others = setting(sponge(), (2.0, 2.0, 2.0))
    _, counts = send((structure, tables, *others), (12, 17), 200)
    all_followed = tables._replace(reach=np.full_like(tables.reach, np.inf))
    _, expected = send((structure, all_followed, *others), (12, 17), 200)
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize(("materials", "cutoff"), [(EPOXY_GOLD, 50.0), (EPOXY_GOLD[:1], 900.0)])
def test_send_electrons__with_discrete_losses_gives_up_few_that_would_come_out(materials, cutoff):
    labels = sponge((30, 12, 17)) if len(materials) == 2 else np.zeros((1, 12, 17), np.uint8)
    options = {"losses": "discrete", "cutoff_ev": cutoff}
    structure, tables, *others = setting(labels, (2.0, 2.0, 2.0), materials, **options)
    _, counts = send((structure, tables, *others), (12, 17), 1000)
    for_ever = np.full_like(tables.reach, np.inf)
    all_followed = tables._replace(reach=for_ever, longest=for_ever[0])
    _, expected = send((structure, all_followed, *others), (12, 17), 1000)
    assert 0 <= expected.sum() - counts.sum() <= 1 + 0.002 * expected.sum()


@pytest.mark.parametrize("losses", ["continuous", "discrete"])
def test_send_electrons__without_losses_are_all_reflected_or_transmitted(losses):
    labels = sponge((8, 6, 6))
    structure, tables, *others = setting(labels, (2.0, 2.0, 2.0), losses=losses)
    structure = structure._replace(deepest=np.int32(8))
    for_ever = np.full_like(tables.reach, np.inf)
    tables = tables._replace(reach=for_ever, longest=for_ever[0])
    free = {"loss": 0 * tables.inverse_path} if losses == "continuous" else {}
    free |= {"elastic_share": 0 * tables.inverse_path + 1} if losses == "discrete" else {}
    scene = (structure, tables._replace(**free), *others)
    electrons, counts = send(scene, (6, 6), 500)
    ends = np.zeros(4, int)
    send_one_by_one(*scene, electrons, 0 * counts, ends)
    reflected, transmitted, stopped, _ = ends
    assert reflected == counts.sum() > 0
    assert reflected + transmitted == electrons.sum()
    assert stopped == 0


def test_send_electrons__agrees_with_small_steps_from_voxel_to_voxel():
    labels, size = sponge((9, 6, 6)), (2.0, 3.0, 2.5)
    atoms = List([atoms_of(material) for material in EPOXY_GOLD])
    rng = np.random.default_rng(0)
    expected = share_that_comes_out(labels, np.array(size), atoms, 1.0, 40_000, rng)
    found = share(labels, size, elastic="browning")
    assert found == pytest.approx(expected, abs=3 * 0.0026)


@pytest.mark.parametrize("name", ["Au", "epoxy"])
def test_send_electrons__in_voxels_of_one_material_equals_the_bulk(name):
    labels = np.tile(np.arange(2, dtype=np.uint8), (8, 5, 3))  # both labels are that material
    found = share(labels, (1.5, 3.0, 2.0), materials=(MATERIALS[name],) * 2)
    bulk = backscatter_coefficient(name, beam_energy_kev=1, electrons=100_000, seed=1)
    assert found == pytest.approx(bulk, abs=3 * 0.0022)


def test_send_electrons__does_not_see_how_fine_the_voxels_are():
    coarse = sponge((10, 9, 9))
    fine = np.kron(coarse, np.ones((2, 2, 2), np.uint8))
    expected = share(coarse, (3.0, 3.0, 3.0), 200_000)
    assert share(fine, (1.5, 1.5, 1.5), 200_000) == pytest.approx(expected, abs=3 * 0.0014)


def test_send_electrons__sees_the_structure_as_its_mirror_image_beyond_the_sides():
    labels = sponge((10, 5, 4))
    mirrored = np.concatenate([labels, labels[:, ::-1]], axis=1)
    mirrored = np.concatenate([mirrored, mirrored[:, :, ::-1]], axis=2)
    expected = share(labels, (2.0, 2.0, 2.0), 200_000)
    assert share(mirrored, (2.0, 2.0, 2.0), 200_000) == pytest.approx(expected, abs=3 * 0.0014)


@pytest.mark.parametrize(("energy", "depth"), [(1000.0, 7.0), (2000.0, 23.0), (4000.0, 88.0)])
def test_send_electrons__shows_gold_at_half_contrast_under_the_published_depth_of_epoxy(
    energy, depth
):
    step = depth / 20
    eta = []
    for planes in (0, 18, 22, 10**3):
        labels = np.zeros((min(planes, 100) + 1, 19, 19), np.uint8)
        labels[planes:] = 1
        eta.append(share(labels, (step, depth / 2, depth / 2), 200_000, energy_ev=energy))
    gold, above, below, epoxy = eta
    assert above > (gold + epoxy) / 2 > below


def test_send_electrons__records_exits_that_are_counted_by_a_low_loss_window():
    arguments = setting(np.ones((1, 9, 9), np.uint8), (5.0, 5.0, 5.0))
    electrons, counts = np.full((1, 1), 5000, np.int32), np.zeros((1, 1), np.int32)
    exits = np.zeros((5000, 7), np.float32)
    place = Place(np.uint64(1), 0, 0, 4, 4)
    window = Acceptance(np.float32(900), np.float32(-1))
    send_electrons(*arguments[:3], window, place, electrons, counts, exits)
    assert 0 < counts[0, 0] == (exits[:, 0] >= 900).sum() < (exits[:, 0] > 0).sum()
    narrow = Illumination(1000.0, cutoff_ev=900.0).tables(EPOXY_GOLD)
    again = np.zeros((1, 1), np.int32)
    send_electrons(arguments[0], narrow, arguments[2], window, place, electrons, again, exits)
    assert again == counts


def test_send_electrons__spreads_a_beam_over_its_diameter():
    labels = np.zeros((5, 21, 21), np.uint8)
    labels[:, 10, 10] = 1
    arguments = setting(labels, (5.0, 5.0, 5.0), diameter=40.0)
    sent, counts = send(arguments, (21, 21), 300)
    wide = counts[10, 10] / sent[10, 10]
    sent, counts = send(setting(labels, (5.0, 5.0, 5.0)), (21, 21), 300)
    assert wide < 0.15 < 0.3 < counts[10, 10] / sent[10, 10]


def test_draw_electrons__are_poisson_distributed():
    for mean in (3.0, 60.0):
        electrons = np.empty((200, 200), np.int32)
        draw_electrons(PLACE, mean, electrons)
        assert electrons.mean() == pytest.approx(mean, rel=0.02)
        assert electrons.var() == pytest.approx(mean, rel=0.04)


# Below AVX-512, LLVM holds gathering for too slow, and only part of an event is vectorised.
@pytest.mark.skipif(
    not llvm.get_host_cpu_features().get("avx512f"), reason="needs a processor with AVX-512"
)
@pytest.mark.parametrize("losses", ["continuous", "discrete"])
def test_advance__is_made_of_vector_instructions(losses):
    structure, tables, *_ = setting(sponge(), (2.0, 2.0, 2.0), losses=losses)
    fresh = njit(error_model="numpy", **without_aliases())(advance.py_func)  # not of the cache
    fresh.compile(tuple(typeof(value) for value in (structure, tables, empty_lanes())))
    (assembly,) = fresh.inspect_asm().values()
    assert assembly.count("vgatherdps") >= 4
    assert assembly.count("vdivps") >= 4


def test_illumination__refuses_a_cutoff_above_the_beam():
    message = "cut-off below the beam; got 900 eV and 800 eV"
    with pytest.raises(ConventionError, match=message):
        Illumination(800.0, cutoff_ev=900.0)


def test_pack_structure__refuses_more_voxels_than_it_can_number():
    labels = np.broadcast_to(np.uint8(0), (2**11, 2**10, 2**10))
    with pytest.raises(ConventionError, match="at most 2147483647 voxels; got 2147483648"):
        pack_structure(labels, (1, 1, 1), deepest=1)
