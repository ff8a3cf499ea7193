"""What must be true of the package as a whole."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fibdask

ROOT = Path(fibdask.__file__).parent
# Lowest first: a package imports only those to its left; stages do not import one another.
LAYERS = ["compiling", "conventions", "blocks", "pieces", "stage", "learn", "report", "run"]
STAGES = ["io", "align", "segment", "thickness", "inpaint", "statistics", "simulate"]


def _imports(file: Path) -> set[str]:
    names = set()
    package = file.relative_to(ROOT.parent).parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join([*base, *([node.module] if node.module else [])]))
    return names


FILES = sorted(ROOT.rglob("*.py"))


def _layer(package: str) -> int:
    return LAYERS.index("stage" if package in STAGES else package)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports__keep_the_contract(file):
    inside = file.relative_to(ROOT).parts
    package = inside[0]
    for name in _imports(file):
        top = name.split(".")[0]
        assert top not in ("torch", "monai", "lightning") or package == "learn", name
        assert top != "matplotlib" or package == "report", name
        assert top not in ("dask", "distributed") or package in ("blocks", "io", "run"), name
        if any(part.startswith("_kernels") for part in inside):
            assert top not in ("dask", "distributed", "xarray"), name
        if name.startswith("fibdask.") and len(inside) > 1:
            other = name.split(".")[1]
            assert other == package or _layer(other) < _layer(package), name


def test_all__is_sorted_and_complete():
    assert fibdask.__all__ == sorted(fibdask.__all__)
    assert all(getattr(fibdask, name) is not None for name in fibdask.__all__)
    assert set(fibdask.__all__) == set(fibdask._PACKAGE_OF)


def test_import__loads_nothing_heavy():
    heavy = "{'dask', 'xarray', 'numpy', 'numba'}"
    code = f"import sys, fibdask; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_import__says_which_systems_it_runs_on():
    code = "import os; os.name = 'nt'; import fibdask"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: fibdask runs on POSIX systems" in out.stderr
    assert "'nt'" in out.stderr


def test_errors__are_built_in_kinds_too():
    assert issubclass(fibdask.ConventionError, ValueError)
    assert issubclass(fibdask.StackReadError, OSError)
    assert issubclass(fibdask.RecipeError, ValueError)
    assert issubclass(fibdask.MemoryBudgetError, MemoryError)
    assert issubclass(fibdask.BlocksFailedError, RuntimeError)


def test_modules__stay_small():
    long = {str(f.relative_to(ROOT)) for f in FILES if len(f.read_text().splitlines()) > 600}
    assert not long


def test_source__names_no_machine_paths():
    pattern = re.compile(r"(?<![\w.])/(work|root|tmp)/")
    found = [str(f) for f in FILES if pattern.search(f.read_text())]
    assert not found


def test_block_functions__stand_in_files_of_their_own():
    astray = []
    for file in FILES:
        package = file.relative_to(ROOT).parts[0]
        if package not in STAGES or package == "io" or file.name.startswith("_functions"):
            continue
        for node in ast.parse(file.read_text()).body:
            methods = {part.name for part in getattr(node, "body", []) if hasattr(part, "name")}
            if isinstance(node, ast.ClassDef) and "compute" in methods:
                astray.append(f"{file.relative_to(ROOT)}: {node.name}")
    assert not astray
