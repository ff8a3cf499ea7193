"""What leaves for other programs: what the format can hold, every value with its unit."""

import csv
import errno
import sys
import tracemalloc
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import tifffile
import xarray as xr
from PIL import Image

from fibdask import (
    ConventionError,
    FibdaskWarning,
    RecipeError,
    StackReadError,
    apply_shifts,
    inpaint_gaps,
    levelled_wave,
    open_stack,
    phase_statistics,
    read_images,
    reposition_slices,
    run_recipe,
    save_stack,
)
from fibdask.blocks import Monitor
from fibdask.run.exporting import (
    SURFACES,
    WRITERS,
    check_suffix,
    counts_beside,
    export_images,
    export_phase,
    export_surface,
    measure_stack,
    stored_statistics,
    volumes,
    write_statistics,
)
from fibdask.run.exporting.volumes import write_tiff
from tests.run.test_ownership import recipe, write_sample


@pytest.fixture(scope="module")
def wave():
    """A phase on a grid of 4 × 6 × 5 nm."""
    return levelled_wave(
        (7, 24, 20), voxel_size=(4, 6, 5), ligament_size=40, solid_fraction=0.4, seed=1
    )


@pytest.fixture(scope="module")
def uneven(wave, tmp_path_factory):
    """A store whose slices lie at uneven depths."""
    sliced = wave.to_dataset(name="phase").isel(z=[0, 1, 3, 6])
    return save_stack(sliced, tmp_path_factory.mktemp("uneven") / "slices.zarr")


# The phase as TIFF


@pytest.mark.parametrize("planes", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("largest", [0, 2**32])
def test_write_tiff__every_reader_finds_all_planes(wave, tmp_path, planes, largest):
    phase, path = wave.isel(z=slice(planes)), tmp_path / "phase.tif"
    write_tiff(phase, path, largest=largest)
    with Image.open(path) as image:
        assert image.n_frames == planes
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff is (largest == 0)
        assert np.array_equal(np.squeeze(tif.asarray()), np.squeeze(255 * phase))


@pytest.mark.parametrize("largest", [0, 2**32])
def test_write_tiff__keeps_the_spacing_of_all_axes(wave, tmp_path, largest):
    write_tiff(wave, tmp_path / "phase.tif", largest=largest)
    stack = read_images(tmp_path / "phase.tif", voltage=2)
    for axis, spacing in {"z": 4, "y": 6, "x": 5}.items():
        assert np.diff(stack[axis]) == pytest.approx(spacing)


def test_export_phase__says_how_labels_are_written(uneven, tmp_path):
    stack = open_stack(uneven)
    labels = save_stack(stack[["phase"]].rename(phase="label"), tmp_path / "labels.zarr")
    with pytest.raises(StackReadError, match=r'but label: Python .*"label\.tif", stack\['):
        export_phase(labels, tmp_path / "phase.tif")


def test_export_phase__uneven_depths_are_refused(uneven, tmp_path):
    with pytest.raises(ConventionError, match=r"uneven depths, 4 to 12 nm apart; .*: reposition"):
        export_phase(uneven, tmp_path / "phase.tif")
    assert not list(tmp_path.iterdir())


def test_export_phase__gaps_are_refused_until_they_are_filled(uneven, tmp_path):
    spread = reposition_slices(open_stack(uneven), spacing=4)
    gaps = save_stack(spread, tmp_path / "gaps.zarr")
    text = "3 of 7 planes .* hold no data, the first is plane 2; .*: inpaint the gaps first"
    with pytest.raises(ConventionError, match=text):
        export_phase(gaps, tmp_path / "phase.tif")
    filled = save_stack(inpaint_gaps(spread, method="nearest"), tmp_path / "filled.zarr")
    export_phase(filled, tmp_path / "phase.tif")
    assert np.array_equal(
        tifffile.imread(tmp_path / "phase.tif") // 255, open_stack(filled)["phase"]
    )


def test_export_phase__gaps_made_after_filling_are_refused(uneven, tmp_path):
    filled = inpaint_gaps(reposition_slices(open_stack(uneven), spacing=4), method="nearest")
    again = reposition_slices(filled.isel(z=[0, 1, 6]), spacing=4)
    with pytest.raises(ConventionError, match="4 of 7 planes"):
        export_phase(save_stack(again, tmp_path / "again.zarr"), tmp_path / "phase.tif")


def test_export_phase__pixels_that_alignment_filled_are_told(wave, tmp_path):
    shifts = xr.Dataset({name: ("z", 6.0 * np.arange(7)) for name in ("shift_y", "shift_x")})
    with pytest.warns(FibdaskWarning, match="of the pixels are filled"):
        aligned = apply_shifts(wave.to_dataset(name="phase"), shifts, outside="edge")
    path = save_stack(aligned, tmp_path / "aligned.zarr")
    with pytest.warns(FibdaskWarning, match=r"6 of 7 planes .* filled, plane 6 \d+\.\d%; .*crop"):
        export_phase(path, tmp_path / "phase.tif")


@pytest.mark.parametrize("name", ["a.png", "a.ome.png", "a.OME.MRC", "a.n5", "a.tif.gz"])
def test_export_phase__name_of_another_format_is_refused(uneven, tmp_path, name):
    with pytest.raises(
        RecipeError, match=r"cannot be written as \..*; the format is .tif or .tiff"
    ):
        export_phase(uneven, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a", "my.sample.tif"])
def test_check_suffix__takes_what_promises_nothing_else(tmp_path, name):
    assert check_suffix(tmp_path / name, (".tif", ".tiff")) is None


def test_write_tiff__memory_does_not_grow_with_depth(tmp_path):
    peaks = []
    for planes in (128, 512):
        phase = xr.DataArray(da.zeros((planes, 256, 256), dtype="uint8", chunks=(32, 128, 256)))
        phase = phase.rename(dict(zip(phase.dims, "zyx", strict=True)))
        phase = phase.assign_coords({axis: 5.0 * np.arange(phase.sizes[axis]) for axis in "zyx"})
        tracemalloc.start()
        with dask.config.set(scheduler="synchronous"):  # threads are not always equally far
            write_tiff(phase, tmp_path / "phase.tif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


class Told(Monitor):
    """Notes how far a work is whenever it is told."""

    def __init__(self):
        self.steps = []

    def advanced(self, report):
        self.steps.append((report.name, report.blocks_run, report.blocks))


@pytest.mark.parametrize("suffix", [*WRITERS, *SURFACES])
def test_export__tells_how_far_it_is_in_every_format(wave, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(volumes, "_SLICES", 3)
    store = save_stack(wave.to_dataset(name="phase"), tmp_path / "phase.zarr")
    told, export = Told(), export_surface if suffix in SURFACES else export_phase
    export(store, tmp_path / f"a{suffix}", monitor=told)
    count = 1 if suffix.endswith("zarr") else 3
    assert told.steps == [("phase", k + 1, count) for k in range(count)]


def test_export_phase__pores_are_zero_for_programs_of_pore_space(wave, tmp_path):
    store = save_stack(wave.to_dataset(name="phase"), tmp_path / "phase.zarr")
    voxels = np.load(export_phase(store, tmp_path / "gold.npy"))
    assert (voxels.shape, voxels.dtype, set(np.unique(voxels))) == (wave.shape, np.uint8, {0, 1})
    pores = voxels == 0
    assert pores.mean() == pytest.approx(1 - float(wave.mean()))
    assert np.array_equal(pores, tifffile.imread(export_phase(store, tmp_path / "a.tif")) == 0)


# Statistics as CSV and Parquet


def test_write_statistics__every_length_and_value_has_its_unit(wave, tmp_path):
    results = phase_statistics(wave, max_lag=3).compute()
    with write_statistics(results, tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    units = {row["quantity"]: row["unit"] for row in rows}
    assert units["ligament_diameter"] == "nm"
    assert units["lineal_path"] == units["solid_fraction"] == "1"
    assert {row["length_unit"] for row in rows if row["distance"] or row["z"]} == {"nm"}
    assert {row["length_unit"] for row in rows if not row["distance"] and not row["z"]} == {""}


def test_write_statistics__parquet_holds_what_the_csv_does(wave, tmp_path):
    results = phase_statistics(wave, max_lag=3).compute()
    table = pyarrow.parquet.read_table(write_statistics(results, tmp_path / "s.parquet"))
    csv_table = pd.read_csv(write_statistics(results, tmp_path / "s.csv"))
    pd.testing.assert_frame_equal(table.to_pandas(), csv_table, check_dtype=False)
    assert {table.schema.field(name).type for name in ("lag", "value")} == {pyarrow.float64()}


def test_counts_beside__parquet_is_refused_at_once_where_pyarrow_is_absent(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StackReadError, match="needs the package pyarrow: pip install pyarrow"):
        counts_beside(tmp_path / "s.parquet")


def test_write_statistics__name_of_another_format_is_refused(wave, tmp_path):
    results = phase_statistics(wave, max_lag=3).compute()
    with pytest.raises(
        RecipeError, match=r"cannot be written as \.xlsx; the format is \.csv or \.parquet"
    ):
        write_statistics(results, tmp_path / "s.xlsx")


def test_write_statistics__leaves_what_was_there_where_it_cannot_be_written(
    wave, tmp_path, monkeypatch
):
    def fails(frame, path, **_):
        path.write_text("half a ta")
        raise OSError(errno.ENOSPC, "No space left on device")

    results = phase_statistics(wave, max_lag=3).compute()
    (tmp_path / "s.csv").write_text("whole")
    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(StackReadError, match=r"s\.csv cannot be written: No space left on device"):
        write_statistics(results, tmp_path / "s.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"s.csv": "whole"}


def test_write_statistics__refuses_a_name_that_is_just_being_written(wave, tmp_path, monkeypatch):
    results = phase_statistics(wave, max_lag=3).compute()

    def meets_another(frame, path, **_):
        path.write_text("half a ta")
        with pytest.raises(StackReadError, match=r"s\.csv is being written by another process"):
            write_statistics(results, tmp_path / "s.csv")
        path.write_text("whole")

    monkeypatch.setattr(pd.DataFrame, "to_csv", meets_another)
    write_statistics(results, tmp_path / "s.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"s.csv": "whole"}


def test_write_statistics__does_not_take_the_place_of_a_device(wave):
    results = phase_statistics(wave, max_lag=3).compute()
    with pytest.raises(StackReadError, match="/dev/null cannot be written: it is no file"):
        write_statistics(results, Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_export_images__of_a_run_names_the_stores_that_hold_some(tmp_path):
    out = tmp_path / "out"
    run_recipe(recipe(write_sample(tmp_path, "A", 0.3), out))
    with pytest.raises(StackReadError, match=r"no images of its last stage; .*out/import\.zarr"):
        export_images(out, tmp_path / "images.npy")


def test_stored_statistics__repeat_that_kmeans_parted_a_peak(tmp_path):
    rng = np.random.default_rng(1)
    grey = np.where(rng.random((5, 32, 40)) < 0.7, 160, 70) + rng.normal(0, 12, (5, 32, 40))
    np.save(tmp_path / "images.npy", grey.round().astype(np.uint8))
    size = {"voltage": 2, "pixel_size": 5, "slice_thickness": 5}
    recipe = {
        "input": {"path": str(tmp_path / "images.npy")} | size,
        "segment": {"method": "kmeans"},
        "statistics": {"max_lag": 2},
        "output": {"path": str(tmp_path / "out"), "report": False},
    }
    told = "kmeans with 3 classes parts one peak"

    def texts():
        found = stored_statistics(tmp_path / "out", max_lag=None).attrs["warnings"]
        return [text for text in found if told in text]

    with pytest.warns(FibdaskWarning, match=told):
        run_recipe(recipe)
    assert len(texts()) == 1
    run_recipe(recipe | {"statistics": {"max_lag": 3}})  # of the phase that is stored
    assert len(texts()) == 1
    assert measure_stack(tmp_path / "out", max_lag=2).attrs["warnings"][-1:] == texts()
    run_recipe(recipe | {"segment": {"method": "kmeans", "classes": 2}})
    assert not texts()


def test_stored_statistics__are_measured_anew_for_another_lag(tmp_path):
    sample = write_sample(tmp_path, "A", 0.3)
    run_recipe(recipe(sample, tmp_path / "out", "statistics"))
    stored = stored_statistics(tmp_path / "out", max_lag=None)
    assert stored.sizes["lag"] == 5
    assert "specific_surface_area" not in stored
    other = stored_statistics(tmp_path / "out", max_lag=2)
    assert other["lag"].values.tolist() == [0, 1, 2]
    assert float(other["solid_fraction"]) == float(stored["solid_fraction"])
