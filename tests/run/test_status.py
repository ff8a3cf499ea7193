"""What is seen of a run by its folder: how fast it was, how it goes on, whether it is alive."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from fibdask import RecipeError, StackReadError, run_recipe
from fibdask.report import write_report
from fibdask.run import runner
from fibdask.run.cli import main
from fibdask.run.folder import RunFolder
from fibdask.run.folder.life import SILENT, signs_of_life, silence
from fibdask.run.folder.progress import LOGGER, log_file
from fibdask.run.folder.run_folder import JOBS, LOCK, LOG, SUMMARY
from fibdask.run.status import ProgressLines, format_status, progress, watched
from tests.holding import wait_until

STAGE = {
    "name": "segment",
    "blocks": 40,
    "blocks_run": 10,
    "blocks_skipped": 2,
    "blocks_failed": 0,
    "seconds": 20.0,
    "forecast_bytes": 1,
    "peak_bytes": 1,
    "mvox_per_second": 3.25,
    "failures": [],
}
TITLE = "a \x1b[31mred\x1b[0m <script>alert(1)</script>"


def recipe(folder, **output):
    rng = np.random.default_rng(0)
    image = np.where(rng.random((6, 40, 44)) < 0.4, 200, 50).astype(np.uint8)
    np.save(folder / "a.npy", image)
    source = {"path": str(folder / "a.npy"), "voltage": 2, "pixel_size": 5, "slice_thickness": 10}
    return {
        "title": TITLE,
        "input": source,
        "segment": {"method": "threshold", "threshold": 100},
        "statistics": {"max_lag": 4},
        "output": {"path": str(folder / "out")} | output,
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, whose log is of JSON."""
    folder = tmp_path_factory.mktemp("finished")
    run_recipe(recipe(folder, log="json"))
    return folder / "out"


@pytest.fixture
def running(tmp_path):
    """The folder of a run that this process is at."""
    folder = RunFolder(tmp_path / "out")
    with folder.taken():
        folder.prepare("a run", "", [])
        yield folder


def printed(capsys, *arguments, code=0):
    found = 0
    try:
        main(list(map(str, arguments)))
    except SystemExit as end:
        found = end.code
    assert found == code
    return capsys.readouterr().out


# How fast it was


def test_status__tells_speed_and_the_slowest_block(finished, capsys):
    told = json.loads(printed(capsys, "status", finished, "--json"))
    stages = {stage["name"]: stage for stage in told["stages"]}
    segment = stages["segment"]
    assert segment["voxels"] == segment["written_bytes"] == segment["read_bytes"] == 6 * 40 * 44
    # Seconds are told to a thousandth, of which such a small stage takes but a few.
    seconds = segment["voxels"] / segment["mvox_per_second"] / 1e6
    assert seconds == pytest.approx(segment["seconds"], rel=0.01, abs=0.0006)
    assert segment["slowest"]["place"] == "z 0:6, y 0:40, x 0:44"
    assert segment["slowest"]["seconds"] == pytest.approx(segment["median_seconds"], rel=0.01)
    assert segment["work_seconds"] <= segment["seconds"] + 0.01
    assert (segment["blocks_retried"], segment["waiting_seconds"]) == (0, 0)
    assert stages["statistics"]["voxels"] > 0


def test_status__tells_people_the_same(finished, capsys):
    text = printed(capsys, "status", finished)
    assert "Mvox/s" in text
    assert "z 0:6, y 0:40, x 0:44" in text


def test_status__a_stage_of_which_nothing_ran_keeps_its_speed(finished, tmp_path):
    table = recipe(tmp_path, report=False)
    run_recipe(table)
    before = {s["name"]: s for s in RunFolder(tmp_path / "out").read()["stages"]}
    run_recipe(table)
    for stage in RunFolder(tmp_path / "out").read()["stages"]:
        assert stage["blocks_run"] == 0
        assert stage["slowest"] == before[stage["name"]]["slowest"]
        assert stage["mvox_per_second"] == before[stage["name"]]["mvox_per_second"]


def test_status__reads_the_summary_of_an_earlier_version(finished, tmp_path):
    summary = json.loads((finished / SUMMARY).read_text())
    old = ("name", "blocks", "seconds", "forecast_bytes", "peak_bytes", "failures")
    kept = (*old, "blocks_run", "blocks_skipped", "blocks_failed")
    summary["stages"] = [{key: stage[key] for key in kept} for stage in summary["stages"]]
    del summary["host"], summary["process"], summary["waited_seconds"]
    (tmp_path / SUMMARY).write_text(json.dumps(summary))
    told = RunFolder(tmp_path).read()
    assert "Mvox/s" not in format_status(told)
    page = write_report(tmp_path / "r.html", stages={}, statistics=None, summary=told)
    assert "Mvox/s" not in page.read_text()


# The log


def test_log__json_has_a_line_for_each_event(finished):
    events = [json.loads(line) for line in (finished / LOG).read_text().splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "run_started"
    assert names[-1] == "run_ended"
    assert events[-1]["state"] == "done"
    assert names.count("stage_started") == names.count("stage_finished") >= 3
    (segment,) = [e for e in events if e["event"] == "stage_finished" and e["stage"] == "segment"]
    assert segment["blocks_run"] == 1
    assert segment["slowest"]["place"] == "z 0:6, y 0:40, x 0:44"
    assert all(event["time"].startswith("20") for event in events)


def test_log_file__json_holds_messages_of_others_too(tmp_path):
    with log_file(tmp_path / "log", as_json=True):
        LOGGER.warning("a\n%s", "\x1b[2K")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["text"] == "a\n\x1b[2K"
    assert "\x1b" not in line


def test_run__log_json_is_an_option_too(tmp_path, capsys, monkeypatch):
    def refuse(recipe, **given):
        raise RecipeError(str(given["log_json"]))

    monkeypatch.setattr(runner, "Pipeline", refuse)
    (tmp_path / "r.toml").write_text('[input]\npath = "a"\n')
    for options, told in (([], "False"), (["--log-json"], "True")):
        with pytest.raises(SystemExit):
            main(["run", str(tmp_path / "r.toml"), *options])
        assert capsys.readouterr().err.startswith(f"error: {told} ")


# How it goes on


def test_watched__tells_each_change_until_the_run_ends(running):
    seen = watched(RunFolder(running.path), poll=0.0)
    assert next(seen)["state"] == "running"
    running.update(STAGE, now=True)
    assert next(seen)["stages"][0]["blocks_run"] == 10
    with running.closed("failed", "the disk is full"):
        pass
    last = next(seen)
    assert (last["state"], last["error"]) == ("failed", "the disk is full")
    assert list(seen) == []


def test_watched__waits_for_a_run_that_has_not_begun(running, monkeypatch):
    folder = RunFolder(running.path.with_name("later"))
    (folder.path / JOBS).mkdir(parents=True)  # of a queue

    def begin():
        shutil.rmtree(folder.path)
        running.path.rename(folder.path)

    monkeypatch.setattr("time.sleep", lambda _: begin())
    assert next(watched(folder))["state"] == "running"


def test_watched__does_not_wait_for_a_run_in_a_folder_of_other_things(tmp_path):
    (tmp_path / "run.lock").touch()  # of a process that is gone
    with pytest.raises(StackReadError, match="is not the folder of a run"):
        next(watched(RunFolder(tmp_path)))


def test_watched__bears_a_file_system_that_is_away_for_a_moment(running):
    seen = watched(RunFolder(running.path), poll=0.001)
    next(seen)
    summary, tries, read = running.path / SUMMARY, [], RunFolder.read

    def away(self):
        tries.append(1)
        if len(tries) == 3:
            aside.rename(summary)
        return read(self)

    aside = summary.rename(summary.with_name("aside"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "read", away)
        running.summary["state"] = "done"
        aside.write_text(json.dumps(running.summary))
        assert next(seen)["state"] == "done"


def test_progress__tells_how_long_it_will_take():
    text = progress(STAGE)
    assert text == "segment: 12 of 40 blocks, 3.25 Mvox/s, 20.0 s so far, 56.0 s left"


def test_progress_lines__say_what_is_new_once(running):
    running.update(STAGE, now=True)
    summary, lines = running.read(), ProgressLines()
    assert len(lines(summary)) == 2
    assert lines(summary) == []
    more = summary | {"stages": [STAGE | {"blocks_run": 11}]}
    assert lines(more) == []  # so soon
    assert lines(more | {"stages": [STAGE | {"blocks_run": 38}]}) == [
        progress(STAGE | {"blocks_run": 38})
    ]


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1), ("interrupted", 1)])
def test_status__watch_ends_with_the_run_and_as_it(running, capsys, state, code):
    with running.closed(state):
        pass
    assert f"a run: {state}" in printed(capsys, "status", running.path, "--watch", code=code)
    text = printed(capsys, "status", running.path, "--watch", "--json", code=code)
    assert json.loads(text)["state"] == state


# Whether it is alive


def test_signs_of_life__keep_the_time_of_a_file_new(tmp_path, monkeypatch):
    monkeypatch.setattr("fibdask.run.folder.life._BEAT", 0.01)
    file = tmp_path / "lock"
    file.touch()
    with signs_of_life(file):
        os.utime(file, (0, 0))
        wait_until(lambda: silence(file) < SILENT)
    os.utime(file, (0, 0))
    time.sleep(0.05)
    assert silence(file) > SILENT


def old(folder):
    past = time.time() - 2 * SILENT
    os.utime(folder.path / LOCK, (past, past))


def test_read__a_run_that_stands_still_seems_dead(running):
    old(running)
    summary = RunFolder(running.path).read()
    assert summary["state"] == "running"
    assert 2 * SILENT - 1 <= summary["silent_seconds"] <= 2 * SILENT + 60
    words = f"it seems dead: no sign of life for {summary['silent_seconds']} s of process"
    assert words in format_status(summary)


def test_read__a_run_whose_process_has_ended_is_interrupted(tmp_path):
    folder = RunFolder(tmp_path / "out")
    with folder.taken():
        folder.prepare("a run", "", [])
    summary = RunFolder(folder.path).read()
    assert summary["state"] == "interrupted"
    assert summary["error"].startswith(f"process {os.getpid()} on ")


def test_read__where_locks_of_other_machines_are_not_seen_signs_of_life_count(tmp_path):
    folder = RunFolder(tmp_path / "out")
    with folder.taken():
        folder.prepare("a run", "", [])
    summary = json.loads((folder.path / SUMMARY).read_text())
    (folder.path / SUMMARY).write_text(json.dumps(summary | {"host": "elsewhere"}))
    assert RunFolder(folder.path).read()["state"] == "running"
    old(folder)
    assert RunFolder(folder.path).read()["state"] == "interrupted"


# What texts of others may do to a terminal or a page


def test_texts_of_others__command_no_terminal(finished, capsys):
    for command in (("status", finished), ("info", finished), ("status", finished, "--json")):
        text = printed(capsys, *command)
        assert "\x1b" not in text
        assert "red" in text
    assert "\x1b" not in (finished / LOG).read_text()


def test_texts_of_others__are_no_part_of_the_page(finished):
    page = (finished / "report.html").read_text()
    assert page.count("<script") == 1  # that of the sliders
    assert "&lt;script&gt;alert(1)" in page
