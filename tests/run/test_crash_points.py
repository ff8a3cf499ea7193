"""Runs killed at changes of the file system; `make chaos` tries all of them."""

import subprocess
import sys

import pytest

from tests.holding import PATIENCE


@pytest.mark.slow
def test_run__killed_at_a_change_of_the_file_system_ends_byte_identical():
    command = [sys.executable, "-m", "tests.benchmarks.crash_points", "--every", "149"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all identical, nothing left behind" in done.stdout
