"""Packages in clean environments: each Python, with the newest and the lowest allowed versions.

    python -m tests.packages dist .package

takes the wheel of the folder `dist`, makes environments below `.package`, and runs the quick tests
in each. `PYTHONS` names other interpreters than python3.11, python3.12 and python3.13.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
RESOLUTIONS = {"newest": "highest", "lowest": "lowest-direct"}
EXTRAS = ("cluster", "hpc", "io", "labels", "remote", "view")  # without torch, which is large
TEST_TOOLS = (
    "flask",
    "flask-cors",
    "hypothesis",
    "meshio",
    "moto",
    "py-partiql-parser",
    "pynrrd",
    "pytest",
    "pytest-timeout",
)
WHEELS = ("--only-binary", ":all:", "--no-binary", "atomicwrites")  # which has no wheel
LARGEST_WHEEL = 40 * 10**6  # bytes
QUICK = (
    "tests/conventions",
    "tests/blocks/test_bounded.py",
    "tests/io/test_store.py",
    "tests/io/test_remote.py",
    "tests/io/images/test_formats.py",
    "tests/statistics/test_closed_forms.py",
)
NOT_HERE = "not has_valid and not as_valid and not to_viewers"  # whose tools bound others' versions
# Newer versions announce what will change later; here it counts what fails now.
_ANNOUNCED = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")


def check_packages(dist: Path, folder: Path) -> bool:
    """Tell whether the wheel works in every environment; what fails is printed."""
    [wheel] = dist.glob("*.whl")
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.1f} MB, of {LARGEST_WHEEL / 1e6:.0f} at most")
    print(f"conda recipe: {_rendered()}")
    good = size <= LARGEST_WHEEL
    for python in os.environ.get("PYTHONS", " ".join(PYTHONS)).split():
        if version := _version(python):
            results = [_check(python, version, name, wheel, folder) for name in RESOLUTIONS]
            good &= all(results)
        else:
            print(f"{python}: skipped, because there is no such Python here")
    return good


def _rendered() -> str:
    """Return name and version of the package that the conda recipe makes."""
    from rattler_build import Stage0Recipe, VariantConfig

    [made] = Stage0Recipe.from_file(ROOT / "conda/recipe.yaml").render(VariantConfig())
    return f"{made.recipe.package.name} {made.recipe.package.version}"


def _version(python: str) -> str:
    """Return the version of an interpreter; nothing where there is none, or it does not run."""
    if shutil.which(python) is None:
        return ""
    told = subprocess.run([python, "--version"], capture_output=True, text=True)
    return told.stdout.split()[-1] if told.returncode == 0 else ""


def _check(python: str, version: str, name: str, wheel: Path, folder: Path) -> bool:
    """Install the wheel into a new environment, and run the quick tests there."""
    place = folder / f"{version}-{name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    began = time.monotonic()
    environment, log, tools = place / "environment", place / "log.txt", place / "tools.in"
    tools.write_text("\n".join(_pinned(TEST_TOOLS)))
    requirements = place / "requirements.txt"
    extras = [option for extra in EXTRAS for option in ("--extra", extra)]
    resolution = ["--resolution", RESOLUTIONS[name], "--python-version", version]
    interpreter = environment / "bin/python"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    compiling = [*uv, "pip", "compile", ROOT / "pyproject.toml", tools, "-o", requirements]
    installing = [*uv, "pip", "install", "--python", interpreter]
    steps: list[Sequence[str | Path]] = [
        [*compiling, *extras, *resolution, *WHEELS],
        [*uv, "venv", "--python", shutil.which(python) or python, environment],
        [*installing, *WHEELS, "-r", requirements, wheel],
        [interpreter, "-m", "fibdask", "--version"],
        _tests(interpreter),
    ]
    _copy_tests(place)
    with log.open("w") as file:
        for step in steps:
            print(*step, file=file, flush=True)
            done = subprocess.run(step, cwd=place, stdout=file, stderr=subprocess.STDOUT)
            if done.returncode:
                break
    last = log.read_text().strip().splitlines()[-1]
    print(f"Python {version}, {name}: {last} ({time.monotonic() - began:.0f} s; {log})", flush=True)
    return done.returncode == 0


def _pinned(names: Sequence[str]) -> list[str]:
    """Return tools in the versions of the constraints, whatever is allowed for the package."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    return [pin for pin in pins if pin.partition("==")[0] in names]


def _copy_tests(place: Path) -> None:
    """Put the tests beside the environment: from here, the tree would be imported."""
    unread = shutil.ignore_patterns("__pycache__", "benchmarks")
    shutil.copytree(ROOT / "tests", place / "tests", ignore=unread)
    shutil.copy(ROOT / "pyproject.toml", place)


def _tests(interpreter: Path) -> list[str | Path]:
    quiet = [f"-Wdefault::{kind}" for kind in _ANNOUNCED]
    return [interpreter, "-m", "pytest", "-q", "-m", "not slow", "-k", NOT_HERE, *quiet, *QUICK]


if __name__ == "__main__":
    os.environ.setdefault("UV_CONCURRENT_DOWNLOADS", "1")  # some mirrors stall at more
    sys.exit(not check_packages(*map(lambda place: Path(place).absolute(), sys.argv[1:3])))
