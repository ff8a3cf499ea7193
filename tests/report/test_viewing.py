"""The page to look through a stack: what it shows where, what it reads, and who can reach it."""

import json
import socket
import threading
import urllib.error
import urllib.request
import zlib
from io import BytesIO

import numpy as np
import pytest
import xarray as xr

import fibdask
from docs.pages import IMAGES
from fibdask.blocks import StoredArray
from fibdask.conventions import build_stack
from fibdask.report.viewing import page as pages
from fibdask.report.viewing.volumes import NamedVolume, even_grid, shown_volumes

from ..browser import needs_chromium

needs_neuroglancer = pytest.mark.skipif(
    pages.find_spec("neuroglancer") is None, reason="neuroglancer is not installed"
)


@pytest.fixture
def viewed():
    """Return what views a stack; pages end with the test, and so does their server."""
    opened = []

    def of(stack):
        opened.append(stack.fib.view())
        return opened[-1]

    yield of
    for page in opened:
        page.close()
    assert not any("_run_server" in thread.name for thread in threading.enumerate())


@pytest.fixture
def regular(stack, tmp_path):
    """A stored stack of even slices with a pyramid of one coarser level, and a gap."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 60000, (1, 12, 30, 150), dtype=np.uint16)
    given = {"pixel_size": (4.0, 4.0), "nominal_thickness": 8.0, "voltage": np.array([1.5])}
    even = build_stack(
        {"intensity": values, "phase": (values[0] > 9000).astype(np.uint8)},
        z=100 + 8.0 * np.arange(12),
        **given,
    )
    measured = np.isin(np.arange(12), [3, 4, 7], invert=True)
    even = even.assign_coords(measured=("z", measured))
    return fibdask.open_stack(fibdask.save_stack(even, tmp_path / "a.zarr", pyramid=True))


def layer(page, name):
    """Return the state of a layer as the page gets it."""
    return next(one for one in page.viewer.state.to_json()["layers"] if one["name"] == name)


def answer(page, name, *place):
    """Return what the page is answered that asks for something of a layer."""
    token = layer(page, name)["source"][0]["url"].removeprefix("python://volume/")
    kind, *rest = place
    address = "/".join([page.link.split("/v/")[0], "neuroglancer", kind, token, *rest])
    with urllib.request.urlopen(address) as told:
        return told.read()


def fetched(page, name, region, factors=(1, 1, 1)):
    """Return voxels of a layer as the page gets them."""
    numbers = (factors, [s.start for s in region], [s.stop for s in region])
    voxels = answer(page, name, "npz", *(",".join(map(str, three)) for three in numbers))
    return np.load(BytesIO(zlib.decompress(voxels)))


# Where voxels are


def test_even_grid__is_that_of_even_slices(regular):
    grid = even_grid(regular)
    assert grid.spacing == (8.0, 4.0, 4.0)
    assert grid.start == (100.0, 0.0, 0.0)
    assert grid.planes.tolist() == list(range(12))


def test_even_grid__shows_at_each_depth_the_nearest_slice(stack):
    grid, z = even_grid(stack), stack["z"].values
    depths = grid.start[0] + grid.spacing[0] * np.arange(len(grid.planes))
    distances = np.abs(z[:, None] - depths)
    assert np.array_equal(distances[grid.planes, np.arange(len(depths))], distances.min(axis=0))
    shown = grid.spacing[0] * np.bincount(grid.planes)
    between = (z[2:] - z[:-2]) / 2  # from the middle between two slices to the next
    assert np.abs(shown[1:-1] - between).max() <= grid.spacing[0]


def test_even_grid__says_which_slices_it_leaves_out(stack):
    z = stack["z"].values.copy()
    z[2:5] = [20.6, 20.7, 20.8]
    thin = build_stack(
        {"phase": stack["phase"].data}, z=z, pixel_size=(3.0, 4.0), nominal_thickness=10.0
    )
    with pytest.warns(fibdask.FibdaskWarning, match=r"0\.5 nm apart.*1 of 7.*slice 3$"):
        grid = even_grid(thin)
    assert 3 not in grid.planes


def test_shown_volumes__equal_the_slices_of_uneven_depths(stack):
    grid = even_grid(stack)
    (shown,) = shown_volumes(stack["intensity"], grid, labels=False, voltage=1)
    assert shown.shape == (len(grid.planes), 70, 66)
    expected = stack["intensity"].values[1][grid.planes]
    assert np.array_equal(shown[5:20, 3:9, 60:66], expected[5:20, 3:9, 60:66])


@pytest.mark.parametrize(
    ("given", "labels", "served"),
    [
        ("bool", True, "uint8"),
        ("int64", True, "uint64"),
        ("int64", False, "float32"),
        ("float64", False, "float32"),
        ("uint16", False, "uint16"),
    ],
)
def test_shown_volumes__have_types_that_viewers_know(stack, given, labels, served):
    volume = stack["phase"].astype(given)
    (shown,) = shown_volumes(volume, even_grid(stack), labels=labels)
    assert shown[:2, :2, :2].dtype == shown.dtype == served


def test_shown_volumes__read_what_is_asked_for(regular, monkeypatch):
    read, whole = [], StoredArray.read

    def counted(self, region, values):
        read.append([(s.start, s.stop) for s in region])
        return whole(self, region, values)

    monkeypatch.setattr(StoredArray, "read", counted)
    shown = shown_volumes(regular["intensity"], even_grid(regular), labels=False, voltage=0)
    assert not read
    assert shown[0][2:4, 5:9, 0:7].shape == (2, 4, 7)
    assert read == [[(0, 1), (2, 4), (5, 9), (0, 7)]]


def test_shown_volumes__have_no_pyramid_of_slices_that_lie_elsewhere_since(regular):
    thickness = xr.DataArray(np.where(np.arange(12) < 6, 2.0, 14.0), dims="z")
    moved = fibdask.apply_slice_thickness(regular, thickness.assign_attrs(units="nm"))
    shown = shown_volumes(moved["intensity"], even_grid(moved), labels=False, voltage=0)
    assert len(shown) == 1
    assert len(shown_volumes(regular["phase"], even_grid(regular), labels=True)) == 2


def test_class_colours__leave_out_what_viewers_do_not_count(stack):
    told = {"flag_values": [-1, 0, 1], "flag_colors": "red green blue"}
    label = stack["phase"].astype(np.int16).assign_attrs(told)
    named = NamedVolume("label", "label", stack.assign(label=label))
    assert named.class_colours() == {0: "green", 1: "blue"}


# The page


@needs_neuroglancer
def test_view__has_layers_in_nm(stack, viewed):
    page = viewed(stack.assign(solid_probability=stack["phase"].astype(np.float32)))
    assert page.layers == ["1 kV", "2 kV", "solid_probability", "phase"]
    source = layer(page, "2 kV")["source"][0]["transform"]
    space = source["outputDimensions"]
    assert (space["y"], space["x"]) == ([3e-9, "m"], [4e-9, "m"])
    # Voxels are served in the same units, or the page would scale them.
    assert json.loads(answer(page, "2 kV", "info"))["coordinateSpace"] == space
    assert source["matrix"] == [[1, 0, 0, -0.5], [0, 1, 0, -0.5], [0, 0, 1, -0.5]]
    assert layer(page, "solid_probability")["shaderControls"]["normalized"]["range"] == [0, 1]
    assert layer(page, "phase")["type"] == "segmentation"
    seen = [one["name"] for one in page.viewer.state.to_json()["layers"] if one.get("visible", 1)]
    assert seen == ["1 kV", "phase"]


@needs_neuroglancer
def test_view__begins_at_the_first_slice_and_looks_at_the_middle(regular, viewed):
    page = viewed(regular)
    matrix = np.array(layer(page, "1.5 kV")["source"][0]["transform"]["matrix"])
    assert matrix[:, 3].tolist() == [100 / 8 - 0.5, -0.5, -0.5]
    state = page.viewer.state.to_json()
    assert state["dimensions"] == {axis: [4e-9, "m"] for axis in "xyz"}
    assert np.allclose(state["position"], [149 / 2, 29 / 2, (100 + 44) / 4])


@needs_neuroglancer
def test_view__serves_the_voxels_of_a_slice(stack, viewed):
    page, grid = viewed(stack), even_grid(stack)
    plane = int(np.flatnonzero(grid.planes == 4)[0])
    got = fetched(page, "2 kV", (slice(plane, plane + 1), slice(10, 20), slice(0, 66)))
    assert np.array_equal(got[0], stack["intensity"].values[1, 4, 10:20])


@needs_neuroglancer
def test_view__takes_coarse_voxels_from_the_pyramid(regular, viewed, tmp_path):
    page = viewed(regular)
    everything = (slice(0, 6), slice(0, 15), slice(0, 75))
    level = fibdask.open_stack(tmp_path / "a.zarr" / "scale1")
    for name, volume in (("1.5 kV", level["intensity"][0]), ("phase", level["phase"])):
        assert np.array_equal(fetched(page, name, everything, (2, 2, 2)), volume.values)
    halved = fetched(page, "1.5 kV", (slice(0, 12), slice(0, 15), slice(0, 75)), (1, 2, 2))
    fine = regular["intensity"].values[0].reshape(12, 15, 2, 75, 2)
    assert np.array_equal(halved, fine.mean(axis=(2, 4)).astype(np.uint16))


@needs_neuroglancer
def test_view__tells_what_cannot_be_read(regular, viewed, tmp_path):
    viewer = viewed(regular[["phase"]]).viewer
    (served,) = viewer.volume_manager.volumes.values()
    for shard in (tmp_path / "a.zarr" / "phase" / "c").rglob("0"):
        if shard.is_file():
            shard.unlink()
    with (
        pytest.warns(fibdask.FibdaskWarning, match="this shard was written and is gone"),
        pytest.raises(ValueError, match="phase cannot be read"),
    ):
        served.get_encoded_subvolume("npz", np.zeros(3, int), np.full(3, 4), "1,1,1")


@needs_neuroglancer
def test_view__tells_which_planes_are_not_measured(regular, viewed):
    boxes = layer(viewed(regular), "not measured")["annotations"]
    told = [box["description"] for box in boxes]
    assert told == ["slices 3 to 4: not measured", "slices 7 to 7: not measured"]
    assert np.allclose(boxes[0]["pointA"], [120, -2, -2])
    assert np.allclose(boxes[0]["pointB"], [136, 118, 598])


@needs_neuroglancer
def test_view__listens_on_loopback_only(stack, viewed):
    page = viewed(stack)
    host, port = page.link.split("/")[2].split(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=5):
        pass
    with pytest.raises(ConnectionRefusedError):  # another address of this machine
        socket.create_connection(("127.0.0.2", int(port)), timeout=5)
    assert page.viewer.allow_credentials is False


@needs_neuroglancer
def test_view__refuses_a_server_that_others_can_reach(stack):
    import neuroglancer

    neuroglancer.set_server_bind_address("0.0.0.0")
    neuroglancer.server.start()
    server = neuroglancer.server.global_server
    try:
        with pytest.raises(fibdask.ConventionError, match=r"on 127\.0\.0\.1 only"):
            stack.fib.view()
    finally:
        neuroglancer.stop()
        server.executor.shutdown()


@needs_neuroglancer
def test_view__is_the_page_in_a_notebook_and_its_link_elsewhere(stack, viewed):
    page = viewed(stack)
    assert repr(page) == page.link
    assert f'<iframe src="{page.link}"' in page._repr_html_()


@pytest.fixture(params=["made", "real"])
def uneven(request, stack):
    """Slices at uneven depths: noise, and a part of a real stack with gaps."""
    if request.param == "made":
        return stack
    if not IMAGES.is_dir():
        pytest.skip(f"the real images are not here: no folder ../shared/data/{IMAGES.name}")
    images = fibdask.read_images(IMAGES, voltage=1.2, pixel_size=10, slice_thickness=10)
    part = images.isel(z=[0, 1, 3, 4, 8, 9, 13], y=slice(40, 106), x=slice(90, 160))
    return part.fib.segment_phases(method="otsu").compute()


def pictured(browser, page, layout, shown, position, pixel):
    """Return what the browser shows of one layer in one panel, and where nm are: z, y, x."""
    scale = 0.15  # pixels in nm of a pixel of the screen
    with page.viewer.txn() as state:
        state.layout = layout
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
        state.cross_section_scale, state.position = scale, np.divide(position[::-1], pixel)
        for one in state.layers:
            one.visible = one.name == shown
    at = json.dumps([value / pixel for value in position[::-1]])
    seen = "viewer.state.toJSON()"
    browser.wait(
        f"{seen}.layout === '{layout}' && viewer.isReady() && {at}.every((value, k) =>"
        f" Math.abs(value - {seen}.position[k]) < 1e-3)"
    )
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    browser.wait("viewer.isReady()")
    box = browser.run(
        "document.querySelector('.neuroglancer-rendered-data-panel').getBoundingClientRect().toJSON()"
    )

    def place(axis, nm):
        start, length = ("left", "width") if axis == "x" else ("top", "height")
        centre = box[start] + box[length] / 2
        return (centre + (nm - position["zyx".index(axis)]) / (pixel * scale)).astype(int)

    return browser.picture().astype(int), place


@needs_chromium
@needs_neuroglancer
def test_view__draws_slices_where_they_are(uneven, viewed, browser):
    page, grid = viewed(uneven), even_grid(uneven)
    browser.open(page.link, 900, 700)
    browser.wait("window.viewer && viewer.isReady()")
    name, pixel, row = f"{uneven['voltage'].values[-1]:g} kV", min(grid.spacing[1:]), 35
    images, y, x = (uneven[key].values for key in ("intensity", "y", "x"))
    low, high = map(float, layer(page, name)["shaderControls"]["normalized"]["range"])
    at = (uneven["z"].values[4], y[row], x[33])

    drawn, place = pictured(browser, page, "xy", name, at, pixel)
    grey = drawn[place("y", y)][:, place("x", x)]
    wanted = 255 * ((images[-1, 4] - low) / (high - low)).clip(0, 1)
    assert np.abs(grey - wanted[..., None]).max() < 3

    drawn, place = pictured(browser, page, "xy", "phase", at, pixel)
    colour = drawn[place("y", y)][:, place("x", x)]
    blue = colour[..., 2] - colour[..., 0]
    assert np.array_equal(blue > 20, uneven["phase"].values[4] == 1)

    drawn, place = pictured(browser, page, "xz", name, at, pixel)
    depths = grid.start[0] + grid.spacing[0] * np.arange(len(grid.planes))
    grey = drawn[place("z", depths)][:, place("x", x)]
    wanted = 255 * ((images[-1, grid.planes, row] - low) / (high - low)).clip(0, 1)
    assert np.abs(grey - wanted[..., None]).max() < 3


@needs_neuroglancer
def test_view__ends_when_it_is_closed(stack, viewed):
    first, second = viewed(stack), viewed(stack)
    first.close()
    assert fetched(second, "phase", (slice(0, 1),) * 3).shape == (1, 1, 1)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(first.link)
    second.close()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(second.link)


@needs_neuroglancer
def test_view__leaves_out_what_would_have_to_be_computed(regular, viewed):
    lazy = regular.drop_vars("phase").fib.segment_phases(method="otsu")
    with pytest.warns(fibdask.FibdaskWarning, match=r"not shown: phase; save the stack"):
        page = viewed(lazy)
    assert page.layers == ["1.5 kV", "not measured"]
    with (
        pytest.warns(fibdask.FibdaskWarning, match="not shown"),
        pytest.raises(fibdask.ConventionError, match="needs a volume in memory or in files"),
    ):
        lazy[["phase"]].fib.view()


def test_view__names_the_extra_that_is_missing(stack, monkeypatch):
    monkeypatch.setattr(pages, "find_spec", lambda _: None)
    with pytest.raises(fibdask.ConventionError, match=r"install fibdask\[view\]"):
        stack.fib.view()
