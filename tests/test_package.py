"""What must be true of the package as a whole."""

import ast
import inspect
import pydoc
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest

import fibdask

ROOT = Path(fibdask.__file__).parent
STUB = ROOT / "__init__.pyi"
# Lowest first: a package imports only those to its left; stages do not import one another.
LAYERS = ["compiling", "conventions", "blocks", "pieces", "stage", "imaging", "microtomography"]
LAYERS += ["learn", "report", "run"]
STAGES = ["io", "align", "segment", "thickness", "inpaint", "reconstruct", "statistics", "simulate"]


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


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {_module(file): file for file in FILES}


def _layer(package: str) -> int:
    return LAYERS.index("stage" if package in STAGES else package)


def _may_know_dask(inside: tuple[str, ...]) -> bool:
    return inside[0] in ("io", "run") or inside[:2] == ("blocks", "engine")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports__keep_the_contract(file):
    inside = file.relative_to(ROOT).parts
    package = inside[0]
    for name in _imports(file):
        top = name.split(".")[0]
        assert top not in ("torch", "monai", "lightning") or package == "learn", name
        assert top != "matplotlib" or package == "report", name
        assert top not in ("dask", "distributed") or _may_know_dask(inside), name
        if any(part.startswith("_kernels") for part in inside):
            assert top not in ("dask", "distributed", "xarray"), name
        if name.startswith("fibdask.") and len(inside) > 1:
            other = name.split(".")[1]
            assert other == package or _layer(other) < _layer(package), name
            assert other in (package, "pieces") or "._" not in name, name


def _running(node):
    """Iterate over what runs of a module, at once or late; not over imports for types alone."""
    yield node
    for part in ast.iter_child_nodes(node):
        if not (isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING"):
            yield from _running(part)


def _uses(file: Path) -> set[str]:
    """Return the modules of the package that one imports, at once or late."""
    names = set()
    package = file.relative_to(ROOT.parent).parent.parts
    for node in _running(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
            origins = (f"{base}.{alias.name}" for alias in node.names)
            names |= {origin if origin in MODULES else base for origin in origins}
    return names


def test_modules__do_not_import_one_another_in_circles():
    graph = {name: _uses(file) - {name} for name, file in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_all__holds_each_name_of_the_stub_once():
    imports = [n for n in ast.parse(STUB.read_text()).body if isinstance(n, ast.ImportFrom)]
    names = [(alias.name, alias.asname) for line in imports for alias in line.names]
    assert all(name == exported for name, exported in names)  # else checkers hide it
    assert sorted(name for name, _ in names) == fibdask.__all__
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", fibdask.__all__)
def test_public_names__are_documented_where_they_are_completed(name):
    value = getattr(fibdask, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)
    assert name in dir(fibdask)


def test_public_names__an_unknown_one_is_none():
    assert not hasattr(fibdask, "open_stak")
    assert fibdask.__version__ == version("fibdask")


def test_public_names__have_the_help_and_the_signature_of_functions():
    assert "method" in inspect.signature(fibdask.segment_phases).parameters
    shown = pydoc.plain(pydoc.render_doc(fibdask.segment_phases))
    assert shown.startswith("Python Library Documentation: function segment_phases in")


USES = """
import fibdask
from fibdask.accessor import StackAccessor

stack = fibdask.open_stack("gold.zarr")
fibdask.segment_phases(stack, method="otsu")
StackAccessor(stack).segment_phases(method="otsu")
fibdask.segment_phases(3, metod="x")
StackAccessor(stack).segment_phases(metod="x")
StackAccessor(stack).lineal_path(max_lag="3")
fibdask.open_stak("gold.zarr")
StackAccessor(stack).segment_phase()
"""
FAULTS = [
    (8, 'Unexpected keyword argument "metod" for "segment_phases"'),
    (8, 'Argument 1 to "segment_phases" has incompatible type "int"; expected "Dataset"'),
    (9, 'Unexpected keyword argument "metod"'),
    (10, 'Argument "max_lag" has incompatible type "str"; expected "int"'),
    (11, 'Module has no attribute "open_stak"'),
    (12, '"StackAccessor" has no attribute "segment_phase"'),
]


# Each result of a script, and what it is: mypy takes nothing of it for "anything".
TYPED = """
from pathlib import Path
from typing import assert_type

import matplotlib.figure
import pandas as pd
import xarray as xr

import fibdask
from fibdask.accessor import StackAccessor


def main(images: Path, depths: str, layers: list[tuple[str, float]]) -> None:
    stack = assert_type(fibdask.open_stack(images), xr.Dataset)
    assert_type(fibdask.read_images({1.0: "a", 2.0: "b"}, pixel_size=(5, 5), z=depths), xr.Dataset)
    shifts = assert_type(fibdask.estimate_shifts(stack), xr.Dataset)
    stack = assert_type(fibdask.apply_shifts(stack, shifts), xr.Dataset)
    found = assert_type(fibdask.estimate_slice_thickness(stack, method="images"), xr.DataArray)
    stack = fibdask.apply_slice_thickness(stack, found, lost="drop")
    assert_type(fibdask.segment_phases(stack, method="random_forest", labels="paint"), xr.Dataset)
    assert_type(fibdask.reconstruct_volume(stack, spacing=2.5), xr.Dataset)
    phase = fibdask.segment_phases(stack, method="threshold", threshold=100)["phase"]
    assert_type(fibdask.two_point_correlation(phase, max_lag=8, axes="z"), xr.DataArray)
    assert_type(fibdask.phase_statistics(phase, max_lag=8), xr.Dataset)
    assert_type(fibdask.solid_fraction(phase), xr.DataArray)
    made = fibdask.levelled_wave(
        (8, 8, 8), voxel_size=5, ligament_size=30, solid_fraction=0.5, seed=1, chunks=(4, 8, 8)
    )
    assert_type(made, xr.DataArray)
    milled = assert_type(
        fibdask.mimic_milling(made, mean_thickness=9, std_thickness=2, seed=1), xr.Dataset
    )
    assert_type(
        fibdask.simulate_images(made, slices=milled, voltage=[1, 2], model="learned", seed=1),
        xr.Dataset,
    )
    signals = assert_type(fibdask.measure_signals(stack, substrate={"y": (0, 9)}), xr.Dataset)
    thick = fibdask.estimate_layers(signals, layers=layers, substrate="Si", noise=0.02)
    assert_type(fibdask.save_stack(thick, images, pyramid=True), Path)
    assert_type(fibdask.run_recipe("recipe.toml", resume=False), xr.Dataset)
    assert_type(fibdask.run_recipe({"input": {"path": "a"}}), xr.Dataset)
    assert_type(fibdask.train("training.toml"), Path)
    assert_type(fibdask.list_models(), pd.DataFrame)
    assert_type(fibdask.adapt_model("gold-windows", stack, path="fitted"), Path)
    fib = StackAccessor(stack)
    assert_type(fib.inpaint_gaps(method="distance"), xr.Dataset)
    assert_type(fib.lineal_path(max_lag=8), xr.DataArray)
    assert_type(fib.segmentation_errors(), xr.Dataset)
    assert_type(fib.plot_slices(voltage=2), matplotlib.figure.Figure)
    assert_type(fib.save_stack("gold.zarr"), Path)
"""


@pytest.mark.slow
def test_public_names__a_type_checker_knows_them_and_finds_the_faults_of_a_script():
    # With the settings and the cache of `make check`: what xarray and numpy are takes a minute.
    # Always in the same place, because the cache remembers it.
    folder = ROOT.parent / ".mypy_cache"
    folder.mkdir(exist_ok=True)
    script, typed = folder / "uses.py", folder / "typed.py"
    script.write_text(USES)
    typed.write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", script, typed]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(found) == len(FAULTS), done.stdout + done.stderr
    for line, (number, fault) in zip(found, FAULTS, strict=True):
        assert line.startswith(f"{script.relative_to(ROOT.parent)}:{number}: error: {fault}"), line


def test_package__ships_all_that_is_no_code():
    settings = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["fibdask"]
    shipped = {file for pattern in patterns for file in ROOT.glob(pattern)}
    others = {f for f in ROOT.rglob("*") if f.is_file() and "__pycache__" not in f.parts}
    assert {f for f in others if f.suffix != ".py"} == shipped


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


# What is read of files never runs

_RUNNING = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "yaml"}
_CALLS = {"eval", "exec"}
_LOADERS = {("torch", "load"), ("pd", "read_pickle"), ("pandas", "read_pickle")}


def _dangers(tree):
    """Iterate over what in a module would run what a file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in _RUNNING)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _RUNNING:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from _dangerous_call(node)


def _dangerous_call(node):
    function = node.func
    if isinstance(function, ast.Name) and function.id in _CALLS:
        yield function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        if (function.value.id, function.attr) in _LOADERS:
            yield f"{function.value.id}.{function.attr}"
        allowed = [k for k in node.keywords if k.arg == "allow_pickle"]
        if any(getattr(keyword.value, "value", True) is not False for keyword in allowed):
            yield f"{function.value.id}.{function.attr}(allow_pickle)"


def test_package__reads_no_pickles_and_runs_no_texts():
    found = {file: list(_dangers(ast.parse(file.read_text()))) for file in FILES}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=given)",
        "torch.load(path)",
    ],
)
def test_dangers__are_seen(text):
    assert list(_dangers(ast.parse(text)))
