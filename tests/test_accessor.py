"""`stack.fib`: the public functions as methods."""

import inspect
import json
import pydoc
import subprocess
import sys

import pytest
import xarray as xr

import fibdask
from fibdask.accessor import StackAccessor
from tests.microtomography.helpers import patches

SHIFTS = xr.Dataset({name: ("z", [3.0] * 7) for name in ("shift_y", "shift_x")})
OF_STACKS = {
    "segment_phases": {"method": "otsu"},
    "reposition_slices": {"spacing": 4.0},
    "inpaint_gaps": {"method": "nearest"},
    "blur_edges": {"width": 8.0},
    "add_brightness_drift": {"seed": 1},
    "add_curtaining": {"seed": 1},
    "add_noise": {"electrons_per_pixel": 50.0, "seed": 1},
    "add_shifts": {"step_std": 3.0, "seed": 1},
    "apply_shifts": {"shifts": SHIFTS},
    "apply_slice_thickness": {"thickness": [9.0] * 7},
    "equalize_brightness": {},
    "gap_distance": {},
    "scale_brightness": {"contrast": 0.9},
    "remove_curtaining": {},
    "simulate_stack": {"mean_thickness": 8.0, "std_thickness": 2.0, "model": "analytic"},
}
OF_PHASES = {
    "chord_length_distribution": {},
    "connected_fraction": {},
    "isotropy_errors": {"max_lag": 3},
    "ligament_diameter": {},
    "lineal_path": {"max_lag": 3},
    "local_thickness": {"max_thickness": 12.0},
    "local_thickness_distribution": {"max_thickness": 12.0},
    "mimic_milling": {"mean_thickness": 6.0, "std_thickness": 2.0, "seed": 1},
    "percolates": {},
    "phase_statistics": {"max_lag": 3},
    "radial_two_point_correlation": {"max_lag": 3},
    "self_similar": {"scale": [1.0, 0.5], "seed": 1},
    "simulate_images": {"voltage": 1.0, "model": "analytic", "seed": 1},
    "solid_fraction": {},
    "solid_fraction_profile": {},
    "specific_surface_area": {},
    "two_point_correlation": {"max_lag": 3},
}
PLOTS = {"plot_correlations": {"max_lag": 3}}
ESTIMATES = {
    "estimate_slice_thickness": {"method": "images"},
    "patch_statistics": {"patch": 16, "max_lag": 3},
}
NETWORKS = {"reconstruct_volume": {"spacing": 4.0}}
OF_LAYERS = ("estimate_layers", "layer_labels", "layer_signals")
METHODS = [
    name for name in vars(StackAccessor) if not name.startswith("_") and name not in OF_LAYERS
]


@pytest.fixture
def regular(stack):
    """The stack on a regular grid, with a truth."""
    on_grid = fibdask.reposition_slices(stack, spacing=4.0)
    return fibdask.inpaint_gaps(on_grid, method="nearest").assign(true_phase=on_grid["phase"])


@pytest.mark.parametrize("name", OF_STACKS)
def test_fib__stages_equal_the_functions(stack, regular, name):
    on_grid = ("inpaint_gaps", "blur_edges", "gap_distance", "simulate_stack")
    given = regular if name in on_grid else stack
    function = getattr(fibdask, name)(given, **OF_STACKS[name])
    assert getattr(given.fib, name)(**OF_STACKS[name]).identical(function)


@pytest.mark.parametrize("name", OF_PHASES)
def test_fib__a_phase_that_is_true_or_false_measures_alike(regular, name):
    function = getattr(fibdask, name)
    solid = regular["phase"] == 1
    assert function(solid, **OF_PHASES[name]).equals(function(regular["phase"], **OF_PHASES[name]))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("select", [{"z": 3}, {"z": slice(0)}, {"voltage": 0}])
def test_fib__says_what_is_wrong_with_a_selection(stack, tmp_path, name, select):
    given = OF_STACKS | OF_PHASES | NETWORKS | PLOTS | {"measure_signals": {"substrate": {}}}
    given |= {name: {"labels": "painted"} for name in ("fit_forest", "learning_curve")}
    given |= {"save_stack": {"path": tmp_path / "s.zarr"}}
    selected = stack.assign(true_phase=stack["phase"]).isel(select).fib
    with pytest.raises(fibdask.ConventionError, match=r"must stay a dimension|must not be empty"):
        getattr(selected, name)(**given.get(name, ESTIMATES.get(name, {})))


@pytest.mark.parametrize("name", OF_PHASES)
def test_fib__statistics_equal_the_functions_of_the_phase(regular, name):
    function = getattr(fibdask, name)(regular["phase"], **OF_PHASES[name])
    assert getattr(regular.fib, name)(**OF_PHASES[name]).identical(function)


def test_fib__segmentation_errors_compare_with_the_truth(regular):
    phase, truth, mask = regular["phase"], regular["true_phase"], regular["measured"]
    expected = fibdask.segmentation_errors(phase, truth, mask=mask)
    assert regular.fib.segmentation_errors(mask=mask).identical(expected)
    other = truth.drop_vars("measured")
    expected = fibdask.segmentation_errors(phase, other)
    assert regular.fib.segmentation_errors(other).identical(expected)


@pytest.mark.filterwarnings("ignore:moving slices")  # which lie where they should
@pytest.mark.filterwarnings("ignore:slices are estimated to be")  # of a small stack
def test_fib__estimates_equal_the_functions():
    structure = fibdask.simulate_structure(
        shape=(40, 64, 64), voxel_size=5, ligament_size=[40], solid_fraction=[0.4]
    )
    stack = fibdask.simulate_stack(structure, model="analytic", voltage=[1.0], mean_thickness=10)
    stack = stack.load()
    assert stack.fib.estimate_shifts().identical(fibdask.estimate_shifts(stack))
    thickness = fibdask.estimate_slice_thickness(stack, method="images")
    assert stack.fib.estimate_slice_thickness(method="images").identical(thickness)


def test_fib__saves_and_validates(stack, tmp_path):
    stack.fib.validate_stack()
    path = stack.fib.save_stack(tmp_path / "a.zarr")
    assert fibdask.open_stack(path)["phase"].equals(stack["phase"])


def test_fib__offers_every_function_of_a_stack_a_phase_or_layers(stack):
    first = {"stack", "phase", "thickness", "signals"}  # the last two of layered samples
    for name in fibdask.__all__:
        code = getattr(getattr(fibdask, name), "__code__", None)
        takes_stack = code is not None and code.co_varnames[:1] and code.co_varnames[0] in first
        assert (name in dir(stack.fib)) is bool(takes_stack), name


@pytest.mark.parametrize("name", METHODS)
def test_fib__methods_look_like_the_functions(stack, name):
    method, function = getattr(stack.fib, name), getattr(fibdask, name)
    assert inspect.ismethod(method)
    assert method.__name__ == name
    if name != "segmentation_errors":
        assert method.__doc__ == function.__doc__
        parameters = list(inspect.signature(function).parameters.values())
        assert list(inspect.signature(method).parameters.values()) == parameters[1:]


@pytest.mark.parametrize("kind", ["whole", "without phase", "one plane", "empty", "foreign"])
def test_fib__can_be_looked_at_whatever_the_dataset_is(stack, kind):
    looked = {
        "whole": stack,
        "without phase": stack.drop_vars("phase"),
        "one plane": stack.isel(z=3),
        "empty": stack.sel(z=slice(30, 10)),
        "foreign": xr.Dataset({"temperature": ("time", [1.0])}),
    }[kind].fib
    members = dict(inspect.getmembers(looked))
    assert members.keys() >= set(METHODS)
    assert all(hasattr(looked, name) for name in METHODS)
    assert not hasattr(looked, "nothing")
    assert "lineal_path(phase: " in pydoc.plain(pydoc.render_doc(looked))
    assert "lineal_path(*, max_lag" in pydoc.plain(pydoc.render_doc(looked.lineal_path))


def test_fib__unknown_name_lists_the_known(stack):
    with pytest.raises(AttributeError, match=r"no method .segment.; it has add_bright"):
        stack.fib.segment()


def test_fib__statistics_need_a_phase(stack):
    with pytest.raises(fibdask.ConventionError, match="needs the variable phase; the stack holds"):
        stack.drop_vars("phase").fib.solid_fraction()


def test_fib__truth_is_needed_for_errors(stack):
    with pytest.raises(fibdask.ConventionError, match="needs the variable true_phase"):
        stack.fib.segmentation_errors()


@pytest.mark.parametrize(
    "imports",
    [
        "import fibdask, xarray",
        "import xarray, fibdask",
        "import fibdask; from xarray import Dataset; import xarray",
        "import importlib.util, fibdask; importlib.util.find_spec('xarray'); import xarray",
        "import fibdask; fibdask.open_stack; import xarray",
        "import fibdask, importlib; importlib.reload(fibdask); import xarray",
        "import fibdask, importlib, xarray; importlib.reload(fibdask)",
    ],
)
def test_fib__is_there_whatever_is_imported_first(imports):
    code = f"{imports}; xarray.Dataset().fib.lineal_path"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_import_xarray__is_left_as_it_was():
    code = (
        "import sys; finders = list(sys.meta_path); import fibdask, importlib.resources, xarray; "
        "assert importlib.resources.files('xarray').joinpath('py.typed').is_file(); "
        "assert 'fibdask.accessor' not in sys.modules; "
        "assert sys.meta_path[:len(finders)] == finders"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fib__belongs_to_datasets_only(stack):
    assert not hasattr(stack["phase"], "fib")
    assert isinstance(stack.fib.reposition_slices(spacing=4.0), xr.Dataset)


STEPS = [*sorted(OF_STACKS.keys() - {"gap_distance"}), "mimic_milling", "simulate_images"]


@pytest.mark.parametrize("name", STEPS)
def test_provenance__tells_what_a_step_was_made_of(stack, regular, name):
    given = regular.load()
    options = OF_STACKS[name] if name in OF_STACKS else OF_PHASES[name]
    if name == "apply_shifts":
        options = {"shifts": SHIFTS.isel(z=[0] * given.sizes["z"])}
    if name == "apply_slice_thickness":
        options = {"thickness": [9.0] * given.sizes["z"]}
    other = given.assign(intensity=255 - given["intensity"], phase=1 - given["phase"])
    steps = [last_step(getattr(made_of.fib, name)(**options)) for made_of in (given, other, given)]
    first, changed, again = (step["input_fingerprint"] for step in steps)
    assert first
    assert first == again != changed


@pytest.mark.filterwarnings("ignore:moving slices")  # which lie where they should
def test_provenance__of_shifts_tells_the_images():
    structure = fibdask.simulate_structure(
        shape=(40, 64, 64), voxel_size=5, ligament_size=[40], solid_fraction=[0.4]
    )
    stack = fibdask.simulate_stack(structure, model="analytic", voltage=[1.0], mean_thickness=10)
    stack = stack.load()
    steps = [
        last_step(part.fib.estimate_shifts()) for part in (stack, stack, stack.isel(z=[0, 1, 2]))
    ]
    first, again, other = (step["input_fingerprint"] for step in steps)
    assert first
    assert first == again != other


def last_step(result):
    return json.loads(result.attrs["provenance"][-1])


@pytest.mark.parametrize("name", OF_LAYERS)
def test_fib__methods_of_layered_samples_equal_the_functions(name):
    sample = patches(1, shape=(3, 4)).to_dataset(name="thickness")
    sample["signal"] = fibdask.layer_signals(sample)
    assert getattr(sample.fib, name)().equals(getattr(fibdask, name)(sample))
