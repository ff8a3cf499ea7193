"""Statistics of a stored phase: refused early, forecast, and told with what belongs to them."""

import json
from contextlib import nullcontext

import numpy as np
import pytest

from fibdask.blocks import Execution
from fibdask.conventions import (
    ConventionError,
    MemoryBudgetError,
    RecipeError,
    StackReadError,
    attributes,
    build_stack,
    record_step,
)
from fibdask.io import open_stack, save_stack
from fibdask.io.store import write_stack
from fibdask.run.exporting import counts_beside, measure_stack
from fibdask.run.folder import measuring
from fibdask.run.folder.progress import RunMonitor
from fibdask.run.info import (
    describe_stack,
    format_description,
    format_statistics,
    statistics_record,
)
from fibdask.statistics import connected_fraction, connectivity, percolates, phase_statistics
from tests.statistics.helpers import noise


def stored(folder, volume, spacing=5.0, **coords):
    """Store a phase; return where."""
    z = spacing * np.arange(len(volume))
    stack = build_stack({"phase": volume}, z=z, pixel_size=(5, 5), nominal_thickness=spacing)
    stack = stack.assign_coords(coords)
    return save_stack(stack, folder / "phase.zarr")


def stored_in_blocks(folder, **coords):
    """Store a phase in several blocks, which workers are to share; return where."""
    volume = noise((6, 200, 300))
    given = {"z": 5.0 * np.arange(6), "pixel_size": (5, 5), "nominal_thickness": 5.0}
    stack = build_stack({"phase": volume}, **given).assign_coords(coords)
    path = folder / "blocks.zarr"
    write_stack(stack, path, Execution(block_bytes=2**18), name="phase")
    return path


def no_workers():
    raise AssertionError("workers were started")


def test_measure_stack__tells_the_expected_solid_fraction_of_a_network(tmp_path):
    probability = np.linspace(0, 1, 8 * 12 * 16, dtype=np.float32).reshape(8, 12, 16)
    volumes = {"phase": (probability > 0.5).astype(np.uint8), "solid_probability": probability}
    stack = build_stack(volumes, z=5.0 * np.arange(8), pixel_size=(5, 5), nominal_thickness=5)
    card = {"errors": {"calibration_error": 0.004}}
    stack = record_step(stack, "segment_phases", {"voltage": [1.0], "model_card": card}, "")
    results = measure_stack(save_stack(stack, tmp_path / "told.zarr"), max_lag=3)
    assert "by the sum of probabilities: 0.5 ± 0.004" in format_statistics(results)
    assert statistics_record(results)["calibration_error"]["values"] == 0.004


def test_measure_stack__is_refused_before_workers_are_started(tmp_path):
    with pytest.raises(StackReadError, match="nowhere does not exist"):
        measure_stack(tmp_path / "nowhere", max_lag=3, connect=no_workers)
    path = stored(tmp_path, noise((6, 12, 14)))
    uneven = open_stack(path).assign_coords(z=("z", [0.0, 5, 10, 15, 20, 40], {"units": "nm"}))
    save_stack(uneven, tmp_path / "uneven.zarr")
    with pytest.raises(ConventionError, match="reposition the slices first"):
        measure_stack(tmp_path / "uneven.zarr", max_lag=3, connect=no_workers)


def test_measure_stack__gives_what_the_functions_give_and_starts_no_workers_for_little(tmp_path):
    path = stored_in_blocks(tmp_path)
    found = measure_stack(path, max_lag=4, connect=no_workers)
    phase = build_stack(
        {"phase": noise((6, 200, 300))},
        z=5.0 * np.arange(6),
        pixel_size=(5, 5),
        nominal_thickness=5,
    )["phase"]
    for name, expected in phase_statistics(phase, max_lag=4).compute().items():
        np.testing.assert_array_equal(found[name], expected)
    assert float(found["connected_fraction"]) == float(connected_fraction(phase))
    np.testing.assert_array_equal(found["percolates"], percolates(phase))
    assert [p.name for p in tmp_path.iterdir() if "count" in p.name] == []


def test_measure_stack__of_gaps_leaves_out_connectivity_and_says_so(tmp_path):
    measured = ("z", np.arange(12) % 3 > 0, attributes("measured"))
    found = measure_stack(stored(tmp_path, noise((12, 20, 24)), measured=measured), max_lag=4)
    assert "connected_fraction" not in found
    record = json.loads(json.dumps(statistics_record(found)))
    assert "4 of 12 planes are not measured; they are left out" in record["warnings"]
    assert any("connectivity is not told" in text for text in record["warnings"])
    text = format_statistics(found)
    assert "mind: 4 of 12 planes are not measured" in text
    assert "nan" not in text


def test_measure_stack__tells_of_coarse_slices_and_short_sums(tmp_path):
    found = measure_stack(stored(tmp_path, noise((12, 20, 24), 0.8), spacing=20.0), max_lag=4)
    text = format_statistics(found)
    assert "mind: voxels as imaged have sides of 20 × 5 × 5 nm (z, y, x)" in text
    assert "mind: the ligament diameter along z is too small: 0." in text
    assert "sums the lineal path up to 20 nm only" in text
    assert "isotropy errors are of distances up to 20 nm" in text


class Client:
    """Workers of little memory, which nobody may use."""

    status, cluster = "running", None

    def scheduler_info(self, n_workers):
        return {"workers": {"a": {"resources": {}}}}

    def run(self, function, on_error):
        return {"a": function()._replace(threads=1, limit=2**20)}


def test_measure_stack__that_fits_no_worker_is_refused_with_the_largest_need(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "_ALONE", 2**18)
    path = stored_in_blocks(tmp_path)
    with pytest.raises(MemoryBudgetError, match=r"^connectivity needs [\d.]+ [MG]iB in"):
        measure_stack(path, max_lag=2, connect=lambda: nullcontext(Client()))
    measured = ("z", np.arange(6) > 0, attributes("measured"))
    gaps = stored_in_blocks(tmp_path / "gaps", measured=measured)
    with pytest.raises(MemoryBudgetError, match=r"^statistics needs [\d.]+ [MG]iB in"):
        measure_stack(gaps, max_lag=2, connect=lambda: nullcontext(Client()))


def interrupt(*given):
    raise KeyboardInterrupt


def test_measure_stack__goes_on_from_the_counts_that_were_kept(tmp_path, monkeypatch):
    path, counts, made = stored(tmp_path, noise((6, 40, 50))), tmp_path / "counts", []
    with monkeypatch.context() as patched:
        patched.setattr(measuring, "_connectivity", interrupt)
        with pytest.raises(KeyboardInterrupt):
            measure_stack(path, max_lag=2, counts=counts)
    monkeypatch.setattr(RunMonitor, "finished", lambda self, report: made.append(report))
    found = measure_stack(path, max_lag=2, counts=counts)
    ran = [report.blocks_run for report in made if report.name == "statistics"]
    assert ran
    assert not any(ran)
    assert found.equals(measure_stack(path, max_lag=2))
    assert not counts.exists()


def test_measure_stack__shows_how_far_connectivity_is(tmp_path, monkeypatch):
    path, told = stored_in_blocks(tmp_path), []
    monkeypatch.setattr(connectivity, "_VOXEL_BYTES", 2**10)
    monkeypatch.setattr(
        RunMonitor, "advanced", lambda self, report: told.append((report.name, report.blocks_run))
    )
    measure_stack(path, max_lag=2)
    blocks, _ = connectivity.connectivity_forecast(open_stack(path)["phase"])
    assert blocks > 1
    found = [done for name, done in told if name == "connectivity"]
    assert found == list(range(1, blocks + 1))


def test_counts_beside__tells_that_a_table_cannot_be_written_before_anything_is_counted(tmp_path):
    assert counts_beside(tmp_path / "a.csv") == tmp_path / ".a.csv.counts"
    with pytest.raises(RecipeError, match=r"a\.xlsx cannot be written as \.xlsx"):
        counts_beside(tmp_path / "a.xlsx")
    with pytest.raises(StackReadError, match=r"a\.csv cannot be written: there is no folder"):
        counts_beside(tmp_path / "missing" / "a.csv")


def test_describe_stack__leaves_out_what_is_not_spread(tmp_path):
    path = stored(tmp_path, noise((12, 20, 24)), spacing=0.1)
    assert describe_stack(path)["slice_thickness_nm"]["std"] == 0
    z = np.append(np.cumsum([0.0, 10, 14, 9]), 40.0)
    stack = build_stack({"phase": noise((5, 6, 7))}, z=z, pixel_size=(5, 5), nominal_thickness=99)
    found = describe_stack(save_stack(stack, tmp_path / "uneven.zarr"))["slice_thickness_nm"]
    assert found["max"] == 14
    assert found["std"] == np.diff(z).std()


def test_format_description__shortens_long_lists(tmp_path):
    stack = build_stack(
        {"phase": noise((3, 6, 7))}, z=5.0 * np.arange(3), pixel_size=(5, 5), nominal_thickness=5
    )
    files = [f"slice_{number:04d}.tif" for number in range(900)]
    given = {"method": "otsu", "drop": [1, 2], "parts": {"2": files}, "files": files}
    stack = record_step(stack, "read_images", given, "")
    record = describe_stack(save_stack(stack, tmp_path / "phase.zarr"))
    assert record["provenance"][-1]["parameters"] == given
    assert format_description(record).splitlines()[-1] == (
        "  step: read_images: method = otsu, drop = [1, 2], parts = {'2': ['slice_0000.tif', …, "
        "'slice_0899.tif'] (900)}, files = ['slice_0000.tif', …, 'slice_0899.tif'] (900)"
    )
