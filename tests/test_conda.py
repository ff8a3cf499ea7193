"""The recipe of the conda package says what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import yaml

from fibdask.conventions import VERSION

ROOT = Path(__file__).parents[1]
NAMES = {
    "dask": "dask-core",
    "lazy-loader": "lazy_loader",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
}
ELSEWHERE = {"neuroglancer"}  # extras that conda-forge does not have


def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def recipe():
    return yaml.safe_load((ROOT / "conda/recipe.yaml").read_text())


def bounds(requirements):
    """Return bounds by conda's name of a package."""
    found = {}
    for requirement in requirements:
        name, bound = re.fullmatch(r"([\w-]+)(?:\[\w+\])? ?([^;#\s]*)", requirement).groups()
        found[NAMES.get(name, name)] = bound
    return found


def test_recipe__has_the_version_and_the_command():
    assert recipe()["context"]["version"] == VERSION
    [command] = recipe()["build"]["python"]["entry_points"]
    assert command == f"fibdask = {settings()['scripts']['fibdask']}"


def test_recipe__needs_what_the_package_needs():
    needed = bounds(recipe()["requirements"]["run"])
    assert needed.pop("python") == settings()["requires-python"]
    assert needed.pop("__linux") == ""
    assert needed == bounds(settings()["dependencies"])


def test_recipe__bounds_what_the_extras_need():
    extras = settings()["optional-dependencies"]
    names = re.fullmatch(r"fibdask\[(.*)\]", extras["all"][0])[1].split(",")
    wanted = bounds(one for name in names for one in extras[name])
    told = bounds(recipe()["requirements"]["run_constraints"])
    assert told == {name: bound for name, bound in wanted.items() if name not in ELSEWHERE}


def test_all__is_every_extra_but_those_that_fix_versions_and_those_of_tests():
    extras = settings()["optional-dependencies"]
    names = re.fullmatch(r"fibdask\[(.*)\]", extras["all"][0])[1].split(",")
    assert set(extras) - set(names) == {"all", "crosscheck", "cuda", "docs", "gpu", "test"}
