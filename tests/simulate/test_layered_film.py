import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError
from fibdask.simulate import simulate_images
from fibdask.simulate.structures._kernels import add_gradient_noise
from fibdask.simulate.structures.layered_film import layered_film
from tests.simulate.naive_structures import film_labels, gradient_noise

THREE = (("Ag", 5.0, 30.0), ("C", 12.0, 12.0), ("Cu", 0.0, 40.0))
SHAPE = (14, 30, 45)


def test_layered_film__is_gold_on_aluminium_on_silicon():
    film = layered_film(seed=0)
    material = film["material"]
    assert material.shape == (16, 128, 128)
    assert material.dtype == np.uint8
    assert [material[axis].attrs["spacing"] for axis in "zyx"] == [10, 10, 10]
    assert material.attrs["flag_meanings"] == "Au Al Si"
    assert material.attrs["flag_values"] == [0, 1, 2]
    assert list(film["layer"].values) == ["Au", "Al"]
    assert set(np.unique(material)) == {0, 1, 2}


def test_layered_film__has_the_mean_thickness_asked_for():
    means = [
        layered_film((1, 64, 64), voxel_size=20, layers=THREE, seed=seed)["layer_thickness"]
        .mean(["y", "x"])
        .values
        for seed in range(30)
    ]
    error = np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    assert (error < [0.5, 1e-9, 0.8]).all()
    assert (np.abs(np.mean(means, axis=0) - [17.5, 12, 20]) <= 4 * error).all()


def test_layered_film__has_all_thicknesses_between_about_equally_often():
    film = layered_film((1, 600, 600), voxel_size=40, layers=[("Al", 20, 150)], seed=0)
    thickness = film["layer_thickness"].values
    assert thickness.min() >= 20
    assert thickness.max() <= 150
    share = np.histogram(thickness, 10, (20, 150))[0] / thickness.size
    np.testing.assert_allclose(share, 0.1, atol=0.012)


def test_layered_film__fills_voxels_with_as_much_as_the_maps_say():
    film = layered_film((30, 200, 200), voxel_size=(7, 15, 15), layers=THREE, seed=3)
    labels, maps = film["material"].values, film["layer_thickness"].values
    for number, thickness in enumerate(maps):
        filled = 7.0 * (labels == number).sum(axis=0)
        assert np.abs(filled - thickness).max() <= 7 + 1e-4
        assert filled.mean() == pytest.approx(thickness.mean(), abs=0.1 * 7)


def test_layered_film__equals_the_naive_labels():
    film = layered_film(SHAPE, voxel_size=(6, 9, 11), layers=THREE, seed=1)
    naive = film_labels(film["layer_thickness"].values, SHAPE[0], 6)
    np.testing.assert_array_equal(film["material"], naive)


def test_layered_film__of_layers_is_independent():
    layers = [("Au", 0, 10), ("Al", 0, 10)]
    film = layered_film((1, 400, 400), voxel_size=40, layers=layers, seed=0)
    first, second = film["layer_thickness"].values
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


def test_layered_film__varies_over_the_feature_size():
    film = layered_film((1, 500, 500), voxel_size=10, feature_size=400, seed=2)
    noise = film["layer_thickness"].values[1] - 75
    near, far = ((noise[:, d:] * noise[:, : 500 - d]).mean() / noise.var() for d in (4, 40))
    assert near > 0.8
    assert abs(far) < 0.4


@pytest.mark.interpreted
def test_add_gradient_noise__equals_the_naive_noise():
    y, x = np.array([0.0, 0.3, 2.0, 2.9]), np.array([0.1, 1.0, 1.7, 5.5, 5.6])
    noise = np.zeros((4, 5))
    add_gradient_noise(y, x, np.uint64(77), 2.0, noise)
    naive = [[2 * gradient_noise(77, v, u) for u in x] for v in y]
    np.testing.assert_allclose(noise, naive, atol=1e-12)
    assert noise[2, 1] == 0


@given(st.data())
def test_layered_film__any_block_equals_the_same_part_of_the_whole(data):
    film = layered_film(SHAPE, layers=THREE, seed=4)
    for name in ("material", "layer_thickness"):
        volume = film[name]
        region = []
        for n in volume.shape:
            start = data.draw(st.integers(0, n - 1))
            region.append(slice(start, data.draw(st.integers(start + 1, n))))
        part = volume.data.origin.function.compute(tuple(region))
        np.testing.assert_array_equal(part, volume.values[tuple(region)])


@pytest.mark.parametrize("chunks", [(14, 30, 7), (1, 13, 45), 8])
def test_layered_film__does_not_depend_on_chunks(chunks):
    whole = layered_film(SHAPE, layers=THREE, seed=2)
    chunked = layered_film(SHAPE, layers=THREE, seed=2, chunks=chunks)
    for name in ("material", "layer_thickness"):
        np.testing.assert_array_equal(chunked[name].values, whole[name].values)


def test_layered_film__is_one_task_a_block():
    material = layered_film((200, 2048, 2048), seed=0)["material"]
    assert len(material.data.dask) == np.prod(material.data.numblocks)


def test_layered_film__can_be_imaged_by_its_attributes():
    film = layered_film((16, 8, 8), seed=0, feature_size=40)
    attrs = film["material"].attrs
    images = simulate_images(
        film["material"],
        model="monte_carlo",
        voltage=2.0,
        materials=dict(zip(attrs["flag_values"], attrs["flag_meanings"].split(), strict=True)),
        electrons_per_pixel=400,
        slices=[0.0],
        seed=0,
    )
    gold = images["true_label"].values[0] == 0
    grey = images["intensity"].values[0, 0]
    assert grey[gold].mean() > 1.2 * grey[~gold].mean()


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("layers", [], "layers must be 1 to 15; got 0"),
        ("layers", [("Au", 5, 2)], r"largest of 2 nm; got 5 nm in layer 0 \(Au\)"),
        ("layers", [("Au", 0, 2), ("Al", -1, 2)], "least thickness of layer 1 .* >= 0 nm; got -1"),
        ("layers", [("Au", 5)], r"layer 0 must be \(material, least, .*; got \('Au', 5\)"),
        ("layers", [("Unobtainium", 0, 2)], "Unobtainium"),
        ("substrate", "Unobtainium", "Unobtainium"),
        ("substrate", 14, "by the names of known materials; got 14"),
        ("feature_size", 0.0, "feature_size must be finite and > 0 nm; got 0.0"),
        ("seed", -3, "seed must be a whole number >= 0; got -3"),
    ],
)
def test_layered_film__refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        layered_film(SHAPE, **{"seed": 0, argument: value})


def test_layered_film__in_terraces_has_as_many_and_as_much_bare():
    film = layered_film(
        (1, 500, 500), voxel_size=40, layers=[("Al", 0, 150)], relief="terraced", terraces=6,
        bare=0.3, seed=0,
    )  # fmt: skip
    thickness = film["layer_thickness"].values
    np.testing.assert_allclose(np.unique(thickness), np.arange(7) * 25.0, rtol=1e-6)
    shares = np.bincount(np.rint(thickness / 25).astype(int).ravel()) / thickness.size
    np.testing.assert_allclose(shares, [0.3, *[0.7 / 6] * 6], atol=0.03)


def test_layered_film__sharp_has_vertical_walls_of_three_heights():
    film = layered_film(
        (1, 300, 300), layers=[("Al", 0, 150)], relief="sharp", feature_size=500, bare=0.4, seed=1
    )
    thickness = film["layer_thickness"].values
    np.testing.assert_allclose(np.unique(thickness), [0, 50, 100, 150], rtol=1e-6)
    cells = thickness[0].reshape(6, 50, 6, 50).max(axis=(1, 3))
    assert 0.2 < (cells == 0).mean() < 0.6


@pytest.mark.parametrize("relief", ["terraced", "sharp"])
def test_layered_film__of_any_relief_does_not_depend_on_blocks(relief):
    options = {"layers": THREE, "relief": relief, "seed": 4}
    whole, cut = (layered_film(SHAPE, **options, chunks=c) for c in ("auto", (14, 11, 19)))
    np.testing.assert_array_equal(whole["material"], cut["material"])
    np.testing.assert_array_equal(whole["layer_thickness"], cut["layer_thickness"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"relief": "rough"}, "relief must be one of smooth, terraced, sharp"),
        ({"relief": "sharp", "bare": 1.0}, "less than 1; got 1.0"),
        ({"relief": "terraced", "terraces": 0}, "whole number >= 1; got 0"),
        ({"relief": "terraced", "terraces": True}, "whole number >= 1; got True"),
    ],
)
def test_layered_film__refuses_an_unknown_relief(options, told):
    with pytest.raises(ConventionError, match=told):
        layered_film((4, 10, 10), seed=0, **options)
