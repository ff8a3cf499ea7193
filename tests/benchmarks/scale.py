"""The main job on a stack of at least 6 GB with two workers of 1.5 GiB each.

Makes the stack (three voltages, lazily generated and stored), then k-means → reposition →
distance inpainting → statistics, and holds the promise measured ≤ forecast ≤ limit. With --repair
the images are shifted, striped and of uneven brightness, and are aligned, rid of curtains,
equalised and put at the depth that they show first; the forecast is held for four times the
pixels, too. With --network a network reconstructs the volume, with two workers of 2 GiB.

With --before RUN.JSON, a copy of the summary that such a run of another version has left in its
folder, the time of every stage is told as a ratio to that run's. Only runs on a machine that is
equally busy can be compared: let the versions take turns.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from fibdask import local_cluster, open_stack, run_recipe, save_stack, simulate_stack
from fibdask.blocks import format_bytes
from fibdask.run.folder import RunFolder
from fibdask.run.planner import format_plan, plan_recipe
from fibdask.run.recipe import read_recipe
from fibdask.run.status import format_status

MEMORY, NETWORK_MEMORY = int(1.5 * 2**30), 2 * 2**30
ARTEFACTS = {"shift_std": 2.5, "gain_std": 0.05, "curtaining": 0.05}
REPAIR = {
    "align": {},
    "curtaining": {},
    "brightness": {},
    # What shines through makes slices look thinner: their mean is kept.
    "thickness": {"method": "images", "isotropic": False},
    "reposition": {"spacing": 7.5},
}
STAGES = {
    "segment": {"method": "kmeans"},
    "reposition": {"spacing": 10.0},
    "inpaint": {"method": "distance"},
    "statistics": {"max_lag": 128},
}
NETWORK = {"reconstruct": {"spacing": 10.0}, "statistics": STAGES["statistics"]}


def images(slices: int, pixels: int, *, repair: bool) -> dict[str, Any]:
    """Return the arguments that simulate the stack."""
    return {
        "shape": (int(slices * 2.04), pixels, pixels),
        "voxel_size": (5.0, 2.5, 2.5),
        "mean_thickness": 10.16,
        "std_thickness": 3.12,
        "voltage": [1.0, 2.0, 4.0],
        "model": "analytic",
        "seed": 7,
        **(ARTEFACTS if repair else {}),
    }


def make_stack(path: Path, slices: int, pixels: int, *, repair: bool) -> float:
    """Store the stack and return the seconds that it took; an earlier one is taken up."""
    stack = simulate_stack(**images(slices, pixels, repair=repair))
    started = time.monotonic()
    save_stack(stack.isel(z=slice(0, slices)), path)
    return time.monotonic() - started


def check_forecast(table: dict[str, Any], memory: int) -> None:
    """Print the forecast of a recipe, and refuse one that is too large for a worker."""
    plan = plan_recipe(table)
    print(format_plan(plan))
    assert max(row["task_bytes"] for row in plan["stages"]) <= memory


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--pixels", type=int, default=2048)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--repair", action="store_true")
    chosen.add_argument("--network", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("fibdask-scale"))
    parser.add_argument("--before", type=Path, help="run.json of the run to compare with")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark and print its table."""
    options = parse_options()
    before = json.loads(options.before.read_text()) if options.before else None
    name = "repair" if options.repair else "plain"
    store = options.folder / f"{name}.zarr"
    out = options.folder / ("network" if options.network else name)
    memory = NETWORK_MEMORY if options.network else MEMORY
    options.folder.mkdir(exist_ok=True)
    stages = NETWORK if options.network else {**STAGES, **(REPAIR if options.repair else {})}
    stages = {"title": "scale", **stages}
    cluster = {"cluster": {"memory": f"{memory} B"}}
    if options.repair:
        large = images(options.slices, 2 * options.pixels, repair=True)
        check_forecast({"simulate": large, **stages, **cluster}, memory)
    with local_cluster(workers=2, memory=memory) as client:
        made = make_stack(store, options.slices, options.pixels, repair=options.repair)
        print(f"made the stack in {made:.0f} s")
        shutil.rmtree(out, ignore_errors=True)
        table = {"input": {"path": str(store)}, **stages, **cluster, "output": {"path": str(out)}}
        check_forecast(table, memory)
        tasks = sum(row["tasks"] for row in plan_recipe(read_recipe(table))["stages"])
        started = time.monotonic()
        run_recipe(table, client=client, quiet=False)
        seconds = time.monotonic() - started
    summary = RunFolder(out).read()
    report(summary, open_stack(store)["intensity"].nbytes, seconds, tasks, memory)
    if before is not None:
        compare(stage_seconds(before), stage_seconds(summary))


def stage_seconds(summary: dict[str, Any]) -> dict[str, float]:
    """Return the time of every stage, and of all together."""
    seconds = {stage["name"]: stage["seconds"] for stage in summary["stages"]}
    return seconds | {"all stages": sum(seconds.values())}


def compare(before: dict[str, float], now: dict[str, float]) -> None:
    """Print the times of both runs, and their ratio, stage by stage."""
    print(f"{'stage':<22} {'before':>9} {'now':>9} {'ratio':>7}")
    for name in filter(now.__contains__, before):
        ratio = now[name] / max(before[name], 1e-3)
        print(f"{name:<22} {before[name]:>7.1f} s {now[name]:>7.1f} s {ratio:>7.2f}")


def report(summary: dict, nbytes: int, seconds: float, tasks: int, memory: int) -> None:
    """Print the table and check the promise."""
    print(format_status(summary))
    blocks = sum(stage["blocks"] for stage in summary["stages"])
    print(
        f"{format_bytes(nbytes)} in {seconds:.0f} s: {nbytes / seconds / 1e6:.0f} MB/s, "
        f"{tasks} tasks planned, {blocks} blocks"
    )
    for stage in summary["stages"]:
        assert stage["peak_bytes"] <= stage["forecast_bytes"] <= memory, stage
    print(f"measured <= forecast <= {format_bytes(memory)} in every stage")


if __name__ == "__main__":
    main()
