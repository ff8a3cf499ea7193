import tracemalloc

import numpy as np
import pytest
import xarray as xr

from fibdask.conventions import ConventionError, FibdaskWarning, recorded_steps, validate_stack
from fibdask.simulate import (
    backscatter_coefficient,
    levelled_wave,
    mimic_milling,
    simulate_images,
)
from fibdask.simulate.electrons.materials import Material
from fibdask.simulate.images._functions_monte_carlo import tile_block

OPTIONS = {"model": "monte_carlo", "electrons_per_pixel": 20, "gaussian_std": 0.0, "seed": 4}
WHITE = 0.6


def structure(chunks="auto", planes=30, h=2.5):
    return levelled_wave(
        (planes, 14, 70),
        voxel_size=h,
        ligament_size=15,
        solid_fraction=0.3,
        seed=2,
        chunks=chunks,
    )


def layers(*labels, h=2.5, pixels=20):
    """Planes of one label each."""
    phase = structure(planes=len(labels)).isel(y=[0], x=[0])
    data = np.broadcast_to(np.reshape(labels, (-1, 1, 1)), (len(labels), pixels, pixels))
    coords = {"z": phase.z}
    coords |= {axis: (axis, np.arange(pixels) * h, phase[axis].attrs) for axis in ("y", "x")}
    return xr.DataArray(data.astype(np.uint8), coords, ("z", "y", "x"))


def share(phase, voltage, **options):
    """Share of the electrons that is seen in images of float32."""
    options = OPTIONS | {"electrons_per_pixel": 300, "dtype": "float32"} | options
    return simulate_images(phase, voltage=voltage, **options).intensity.values * WHITE


@pytest.mark.parametrize("voltage", [1, 2])
def test_simulate_images__of_a_bulk_counts_its_backscattered_electrons(voltage):
    counts = share(layers(1, pixels=40), voltage) * 300
    eta = backscatter_coefficient("Au", beam_energy_kev=voltage, electrons=100_000, seed=0)
    assert counts.mean() == pytest.approx(300 * eta, rel=0.01)
    assert counts.var() == pytest.approx(300 * eta, rel=0.12)  # shot noise: Poisson's


@pytest.mark.parametrize("kind", ["blocks", "dask", "numpy"])
@pytest.mark.parametrize("chunks", [(30, 14, 70), (3, 14, 33), (17, 5, 70)])
def test_simulate_images__by_monte_carlo_do_not_depend_on_chunks_or_kind(chunks, kind):
    slices = mimic_milling(structure(), mean_thickness=12, std_thickness=4, seed=1)
    options = {"voltage": [1.0, 2.0], "slices": slices, **OPTIONS, "electrons_per_pixel": 5}
    expected = simulate_images(structure().compute(), **options).compute()
    phase = structure(chunks)
    if kind == "dask":
        phase = phase.copy(data=phase.data + np.uint8(0))
    elif kind == "numpy":
        phase = phase.compute()
    # Provenance tells the array that was given, which is another one.
    found = simulate_images(phase, **options).compute()
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))


def test_simulate_images__of_another_device_are_others_and_provenance_says_which():
    cpu, gpu = (
        simulate_images(structure(), voltage=1, device=device, **OPTIONS)
        for device in ("cpu", "gpu")
    )
    assert cpu.intensity.data.origin.token != gpu.intensity.data.origin.token
    assert recorded_steps(gpu)[-1]["parameters"]["device"] == "gpu"


@pytest.mark.parametrize("options", [{"detector": "icd"}, {"beam_diameter": 6.0, "tilt": 30.0}])
def test_simulate_images__by_monte_carlo_a_part_equals_that_of_the_whole(options):
    stack = simulate_images(structure(), voltage=[0.5, 0.7], **OPTIONS, **options)
    part = {"voltage": slice(1, 2), "z": slice(13, 15), "y": slice(3, 9), "x": slice(34, 37)}
    whole = stack.intensity.compute().isel(part)
    np.testing.assert_array_equal(stack.intensity.isel(part).compute(), whole)
    function = stack.intensity.data.origin.function
    (read,) = function.needs((slice(1, 2), slice(13, 15), slice(3, 9), slice(34, 37)))
    assert read[2].start > 0
    assert read[2].stop < 70


def test_simulate_images__by_monte_carlo_in_vacuum_a_part_equals_that_of_the_whole():
    materials = {"pore": "vacuum", "solid": "Au"}
    stack = simulate_images(structure(), voltage=1, materials=materials, **OPTIONS)
    part = {"z": slice(3, 5), "y": slice(3, 9), "x": slice(20, 30)}
    whole = stack.intensity.compute().isel(part)
    np.testing.assert_array_equal(stack.intensity.isel(part).compute(), whole)


def test_simulate_images__by_monte_carlo_is_one_task_an_image():
    stack = simulate_images(structure(), voltage=[1, 2, 4], **OPTIONS)
    assert stack.intensity.data.chunksize == (1, 1, 14, 70)
    assert len(stack.intensity.data.dask) == 3 * 30


@pytest.mark.parametrize("region", [(1, 1, 14, 70), (2, 3, 9, 40)])
def test_working_bytes__bound_what_a_task_allocates(region):
    stack = simulate_images(structure(planes=60), voltage=[1, 2], **OPTIONS)
    source = stack.intensity.data.origin
    part = tuple(slice(0, n) for n in region)
    (read,) = source.function.needs(part)
    labels = structure(planes=60).values[read].copy()
    source.function.compute(part, labels)  # compiles, and fills the caches of tables
    tracemalloc.start()
    images = source.function.compute(part, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    beside_tables = source.function.working_bytes(part) - 2**22 + 2**17
    assert peak <= beside_tables + images.nbytes


def test_tile_block__cuts_large_images_evenly():
    assert tile_block(512, 300) == (1, 1, 512, 300)
    assert tile_block(1024, 600) == (1, 1, 512, 320)


def test_simulate_images__by_monte_carlo_gives_a_stack_with_the_truth_of_its_slices():
    stack = simulate_images(structure(), voltage=2, slices=[5.0, 20.0], **OPTIONS)
    validate_stack(stack)
    assert stack.intensity.dtype == np.uint8
    np.testing.assert_array_equal(stack.true_phase, structure()[[2, 8]])
    assert '"elastic": "mott"' in stack.attrs["provenance"][-1]


def test_simulate_images__shine_through_of_a_layer_vanishes_with_its_depth():
    buried = [share(layers(*[0] * n, 1), 2, slices=[0.0]).mean() for n in (1, 5, 15, 40)]
    assert (np.diff(buried) < -0.02).all()
    assert buried[-1] == pytest.approx(share(layers(0), 2).mean(), abs=0.003)


def test_simulate_images__on_uneven_planes_are_those_of_the_same_layers():
    even = layers(0, 0, 0, 1, 1, 0)
    uneven = even.isel(z=[0, 3, 5])
    expected, found = (share(phase, 1)[0, 0].mean() for phase in (even, uneven))
    assert found == pytest.approx(expected, abs=0.005)


def test_simulate_images__below_the_last_plane_goes_on_as_that():
    thin, thick = (layers(*labels) for labels in ([0, 1], [0] + [1] * 60))
    expected, found = (share(phase, 4, slices=[0.0]).mean() for phase in (thick, thin))
    assert found == pytest.approx(expected, abs=0.006)


def test_simulate_images__of_labels_shows_each_material():
    labels = layers(0)
    labels = labels.copy(data=np.broadcast_to(np.arange(20) // 7, labels.shape).astype(np.uint8))
    labels = labels.assign_coords(x=labels.x * 20)  # wide pixels
    chrome = Material("Cr", {"Cr": 1}, 7.19)
    stack = simulate_images(labels, voltage=2, materials={0: "C", 1: chrome, 2: "Au"}, **OPTIONS)
    carbon, metal, gold = (stack.intensity[0, 0, :, x].mean() for x in (3, 10, 17))
    assert carbon + 30 < metal < gold - 30
    np.testing.assert_array_equal(stack.true_label, labels)
    # Sums of phases keep what their labels meant, by some versions of xarray.
    said = labels.assign_attrs(flag_values=[0, 1], flag_meanings="pore solid")
    again = simulate_images(said, voltage=2, materials={0: "C", 1: chrome, 2: "Au"}, **OPTIONS)
    assert "true_label" in again


def test_simulate_images__of_a_low_loss_window_sees_the_surface_only():
    shallow, deep = layers(*[0] * 12, 1), layers(0)
    total, low_loss = (
        share(shallow, 2, detector=detector)[0, 0].mean() - share(deep, 2, detector=detector).mean()
        for detector in ("tld", "icd")
    )
    assert total > 0.1
    assert abs(low_loss) < 0.01


@pytest.mark.parametrize("voltage", [1, 4])
def test_simulate_images__of_a_low_loss_window_show_gold_as_bright_as_of_all_energies(voltage):
    total, low_loss = (
        share(layers(1), voltage, detector=detector).mean() for detector in ("tld", "icd")
    )
    assert low_loss == pytest.approx(total, rel=0.05)


def test_simulate_images__lose_energy_in_collisions_where_a_window_is_looked_at():
    gold = layers(1)
    low_loss, discrete, continuous = (
        share(gold, 1, energy_window=0.02, **options).mean()
        for options in ({}, {"losses": "discrete"}, {"losses": "continuous"})
    )
    assert low_loss == discrete > 2 * continuous
    for options in ({}, {"losses": "continuous"}):
        np.testing.assert_array_equal(share(gold, 1, **options), share(gold, 1))


def test_simulate_images__of_a_cone_are_brighter_by_the_excess_along_the_beam():
    gold = layers(1, pixels=60)
    wide, narrow = (share(gold, 1, acceptance_angle=angle).mean() for angle in (90.0, 25.0))
    assert narrow / wide == pytest.approx(1.38, abs=0.12)


def test_simulate_images__tells_of_an_angle_that_lets_in_next_to_nothing():
    with pytest.warns(FibdaskWarning, match=r"angle of 1.57 degrees lets in 0.0008 of the"):
        simulate_images(layers(1), voltage=2, acceptance_angle=np.pi / 2, **OPTIONS)


def test_simulate_images__tells_of_a_window_that_is_wider_than_white():
    with pytest.warns(FibdaskWarning, match=r"window of 1 lets in more .* than those of 0\.1"):
        simulate_images(layers(1), voltage=2, detector="icd", energy_window=1.0, **OPTIONS)


def test_simulate_images__of_current_and_time_are_those_of_their_electrons():
    gold = layers(1)
    options = OPTIONS | {"voltage": 1}
    by_number = simulate_images(gold, **options | {"electrons_per_pixel": 50 * 0.2 * 6.241509})
    by_time = simulate_images(gold, **options, beam_current=50, dwell_time=0.2)
    np.testing.assert_array_equal(by_time.intensity, by_number.intensity)


def test_simulate_images__by_monte_carlo_reports_labels_without_material():
    stack = simulate_images(layers(0, 5), voltage=1, materials={0: "C", 1: "Au"}, **OPTIONS)
    with pytest.raises(ConventionError, match="of each label; label 5 has none"):
        stack.intensity.compute()


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("materials", {"pore": "epoxy", "solid": "gold"}, "must be one of Au, .*; got 'gold'"),
        ("materials", {"pore": "epoxy"}, "of labels 0, 1, … up to 15; got pore"),
        ("materials", {1: "Au"}, "of labels 0, 1, … up to 15; got 1"),
        ("voltage", 60, "got 50 eV and 60000 eV"),
        ("cutoff_ev", 3.0, "got 3 eV and 2000 eV"),
        ("elastic", "rutherford", "elastic must be one of mott, browning; got 'rutherford'"),
        ("losses", "none", "losses must be one of continuous, discrete; got 'none'"),
        ("acceptance_angle", 0.0, "acceptance_angle must be > 0 and <= 90 degrees; got 0.0"),
        ("energy_window", 1.5, "energy_window must be > 0 and <= 1 .*; got 1.5"),
        ("tilt", -1.0, "tilt must be in 0 … 85 degrees; got -1.0"),
        ("beam_diameter", -2.0, "beam_diameter must be finite and >= 0 nm; got -2.0"),
        ("electrons_per_pixel", None, "needs a number of electrons_per_pixel; got None"),
        ("dwell_time", 1.0, "must be given together; got None pA and 1.0 µs"),
    ],
)
def test_simulate_images__by_monte_carlo_refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        simulate_images(structure(), **OPTIONS | {"voltage": 2, argument: value})


def test_simulate_images__of_a_wide_beam_ends():
    # One of these electrons starts on the outermost face, along which it flies.
    phase = levelled_wave((4, 64, 64), voxel_size=2.5, ligament_size=20, solid_fraction=0.4, seed=3)
    options = OPTIONS | {"electrons_per_pixel": 80, "seed": 712}
    stack = simulate_images(phase, voltage=1, slices=[0.0], beam_diameter=5.0, **options)
    assert 0 < stack.intensity.values.mean() < 255


def test_simulate_images__refuses_more_electrons_than_can_be_counted():
    with pytest.raises(ConventionError, match=r"electrons_per_pixel must be at most 2\^30; got 1e"):
        simulate_images(structure(), voltage=1, **OPTIONS | {"electrons_per_pixel": 1e12})


def test_simulate_images__of_a_phase_by_labels_has_its_truth():
    stack = simulate_images(structure(), voltage=1, materials={0: "epoxy", 1: "Au"}, **OPTIONS)
    np.testing.assert_array_equal(stack["true_phase"], structure())


def test_simulate_images__of_all_angles_counts_what_leaves_a_tilted_surface_backwards():
    options = OPTIONS | {"electrons_per_pixel": 400}
    gold = layers(1, 1)
    all_angles, cone = (
        simulate_images(
            gold,
            voltage=1,
            tilt=60,
            acceptance_angle=angle,
            dtype="float32",
            materials={0: "epoxy", 1: "Au"},
            **options,
        ).intensity.values.mean()
        for angle in (90, 89.999)
    )
    assert all_angles > 1.05 * cone
