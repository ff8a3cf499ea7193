"""Layered samples in recipes and on the command line."""

import json

import numpy as np
from click.testing import CliRunner

from fibdask import open_stack, run_recipe, save_stack
from fibdask.microtomography import layer_signals
from fibdask.run.cli import cli
from tests.microtomography.helpers import patches


def recipe(tmp_path):
    signals = layer_signals(patches(1, 8, (16, 24)), forward="analytic", noise=0.02, seed=1)
    save_stack(signals.to_dataset(), tmp_path / "signals.zarr")
    return {
        "input": {"path": str(tmp_path / "signals.zarr")},
        "layers": {"forward": "analytic", "smoothing": 3},
        "output": {"path": str(tmp_path / "out")},
    }


def test_run_recipe__estimates_layers_reports_them_and_resumes(tmp_path):
    table = recipe(tmp_path)
    found = run_recipe(table)
    assert set(found.data_vars) == {"thickness", "thickness_error", "misfit", "label"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "median standard error" in page
    CliRunner().invoke(cli, ["report", str(tmp_path / "out")], catch_exceptions=False)
    assert "median standard error" in (tmp_path / "out" / "report.html").read_text()
    run_recipe(table)
    status = json.loads((tmp_path / "out" / "run.json").read_text())
    assert sum(stage["blocks_run"] for stage in status["stages"]) == 0
    stored = open_stack(tmp_path / "out" / "layers.zarr")
    np.testing.assert_array_equal(stored["thickness"], found["thickness"])


def test_info__tells_energies_and_layers(tmp_path):
    run_recipe(recipe(tmp_path))
    for store, told in (("signals.zarr", "31, from 5 to 35 keV"), ("out/layers.zarr", "Al, Au")):
        result = CliRunner().invoke(cli, ["info", str(tmp_path / store)])
        assert told in result.output
