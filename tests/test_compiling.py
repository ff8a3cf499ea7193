import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fibdask.compiling import compiled

PACKAGE = Path(__file__).parents[1] / "fibdask"


@compiled(nogil=True)
def twice(number):
    return 2 * number


def test_compiled__computes_what_is_written():
    assert twice(4) == twice.py_func(4) == 8


@pytest.mark.slow
def test_compiled__works_with_one_line_where_nothing_can_be_kept(tmp_path):
    copy = tmp_path / "fibdask"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # a file, so that not even root can write there
    places = {"HOME": "/dev/null", "MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "fibdask.run.cli", "info", "missing.zarr"],
        env={"PATH": os.environ["PATH"], **places},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    told, error = done.stderr.splitlines()
    assert done.returncode == 1
    assert told.startswith("warning: compiled code cannot be kept")
    assert error == "error: missing.zarr does not exist"
