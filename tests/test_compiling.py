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


def run_kernel(folder, offset, factor=2):
    """Return what a kernel makes of 1 whose constant and function are those of another file."""
    (folder / "others.py").write_text(
        "from fibdask.compiling import compiled\n"
        f"OFFSET = {offset}\n"
        "@compiled()\n"
        "def scaled(number):\n"
        f"    return {factor} * number\n"
    )
    (folder / "kernel.py").write_text(
        "from fibdask.compiling import compiled\n"
        "from others import OFFSET, scaled\n"
        "@compiled()\n"
        "def moved(number):\n"
        "    return scaled(number) + OFFSET\n"
    )
    code = "from kernel import moved; print(moved(1), sum(moved.stats.cache_hits.values()))"
    paths = f"{folder}{os.pathsep}{PACKAGE.parent}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, done.stdout.split()))


def test_compiled__is_kept_until_what_its_module_imports_changes(tmp_path):
    assert run_kernel(tmp_path, offset=10) == (12, 0)
    assert run_kernel(tmp_path, offset=10) == (12, 1)
    assert run_kernel(tmp_path, offset=20) == (22, 0)
    assert run_kernel(tmp_path, offset=20, factor=3) == (23, 0)


@pytest.mark.slow
def test_compiled__works_with_one_line_where_nothing_can_be_kept(tmp_path):
    copy = tmp_path / "fibdask"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # a file, so that not even root can write there
    places = {"HOME": "/dev/null", "MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "fibdask", "info", "missing.zarr"],
        env={"PATH": os.environ["PATH"], **places},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    told, error = done.stderr.splitlines()
    assert done.returncode == 1
    assert told.startswith("warning: compiled code cannot be kept")
    assert error.startswith("error: missing.zarr does not exist")
