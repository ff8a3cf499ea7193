"""How far a long command is."""

import dask
import pytest

from fibdask.run import telling as module
from fibdask.run.folder.progress import command_monitor, watched
from fibdask.run.telling import computing, telling


@pytest.fixture(autouse=True)
def every_line(monkeypatch):
    monkeypatch.setattr(module, "_LINE_EVERY", 0.0)


def test_telling__says_how_long_it_will_take(capsys):
    with telling("file", quiet=False) as tell:
        for done in range(1, 4):
            tell(done, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file: 1 of 3"
    assert lines[1] == "file: 2 of 3, 0.0 minutes left"
    assert lines[2] == "file: 3 of 3, 0.0 minutes left"


def test_telling__what_begins_anew_is_told_its_own_time(capsys):
    with telling("file", quiet=False) as tell:
        for step, steps in ((1, 2), (2, 2), (1, 9)):
            tell(step, steps)
    assert capsys.readouterr().out.splitlines()[2] == "file: 1 of 9"


def test_watched__says_where_there_is_no_terminal_how_far_it_is(capsys):
    for quiet in (False, True):
        assert list(watched("abc", 3, "file", command_monitor(quiet=quiet))) == ["a", "b", "c"]
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"file: {n} of 3" for n in range(4)]
    assert lines[2].endswith(", 0.0 minutes left")
    assert last.startswith("file: 3 run, 0 skipped, 0 failed")


def test_telling__quiet_says_nothing(capsys):
    with telling("file", quiet=True) as tell:
        tell(1, 3)
    assert capsys.readouterr().out == ""


def test_computing__counts_the_tasks_of_all_computations(capsys):
    with computing("measuring", quiet=False):
        for _ in range(2):
            dask.compute([dask.delayed(abs)(k) for k in range(2)], scheduler="threads")
    told = [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == [f"measuring: {counts}" for counts in ("1 of 2", "2 of 2", "3 of 4", "4 of 4")]
