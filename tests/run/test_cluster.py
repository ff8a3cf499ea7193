"""Workers of a script."""

import subprocess
import sys
import time

import pytest

from fibdask import RecipeError
from fibdask.run.cluster import planned_worker

pytestmark = pytest.mark.cluster

BARE = """
import fibdask
print("imported", flush=True)
client = fibdask.local_cluster(workers=1, memory="1 GiB")
print("started")
"""
GUARDED = """
import fibdask
if __name__ == "__main__":
    with fibdask.local_cluster(workers=1, memory="1 GiB") as client:
        print("sum:", client.submit(sum, [1, 2]).result())
"""
SWALLOWING = """
import fibdask
try:
    fibdask.local_cluster(workers=1, memory="1 GiB")
except Exception as error:
    print("told:", error)
print("went on")
"""


def run_script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=200, check=False
    )


def test_local_cluster__bare_script_ends_with_what_to_do(tmp_path):
    began = time.monotonic()
    done = run_script(tmp_path, BARE)
    assert time.monotonic() - began < 100
    assert done.returncode == 1
    words = 'a script must call local_cluster under `if __name__ == "__main__":`'
    assert words in done.stderr.splitlines()[-1]
    assert "started" not in done.stdout


def test_local_cluster__worker_does_not_go_on_in_a_bare_script(tmp_path):
    done = run_script(tmp_path, SWALLOWING)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("told: ") == done.stdout.count("went on") == 1


def test_local_cluster__guarded_script_works(tmp_path):
    done = run_script(tmp_path, GUARDED)
    assert done.stdout == "sum: 3\n", done.stderr


@pytest.mark.parametrize("memory", ["much", "-1 GiB", "0"])
def test_planned_worker__memory_is_an_amount(memory):
    options = {"scheduler": None, "workers": 1, "threads": 1, "memory": memory}
    with pytest.raises(RecipeError, match="memory must be an amount such as"):
        planned_worker(options)
