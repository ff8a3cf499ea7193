"""Small copies of volumes: what is read for them, and what the sliders of a report show."""

import re

import numpy as np
import pytest

import fibdask
from fibdask.blocks import StoredArray
from fibdask.conventions import build_stack, record_step
from fibdask.report import write_report
from fibdask.report.figures import sampled, slices
from fibdask.report.figures.sampled import sampled_volume
from fibdask.report.sections.look import look_section

from ..browser import needs_chromium

COLOURS = {"solid": slices.SOLID, "pore": slices.PORE, "gap": slices.GAP}


def volume(values, z=None, name="phase", **options):
    z = 10.0 * np.arange(values.shape[-3]) if z is None else z
    given = {"pixel_size": (3.0, 4.0), "nominal_thickness": 10.0} | options
    return build_stack({name: values}, z=z, **given)


def sample(stack, name, *, average=True, voltage=None, share=1):
    return sampled_volume(stack, name, voltage=voltage, average=average, share=share)


# What is read


@pytest.mark.parametrize("tile", [1, 2**24])
@pytest.mark.parametrize("chunks", [(1, 7, 40), (3, 16, 16)])
def test_sampled_volume__averages_pixels(monkeypatch, tile, chunks):
    monkeypatch.setattr(sampled, "PIXELS", 9)
    monkeypatch.setattr(sampled, "_TILE_BYTES", tile)
    values = np.random.default_rng(1).integers(0, 2, (4, 23, 40), dtype=np.uint8)
    found = sample(volume(values).chunk(dict(zip("zyx", chunks, strict=True))), "phase")
    means = [
        [plane[y : y + 5, x : x + 5].mean() for y in range(0, 23, 5) for x in range(0, 40, 5)]
        for plane in values
    ]
    assert np.allclose(found.values, np.reshape(means, (4, 5, 8)), atol=1e-6)
    assert found.bins["x"].edges.tolist() == [*np.arange(-2.0, 158, 20), 158]
    assert found.bins["y"].places.tolist() == [6, 21, 36, 51, 63]


@pytest.mark.parametrize("chunks", [(1, 7, 40), (3, 16, 16)])
def test_sampled_volume__picks_one_of_several_labels(monkeypatch, chunks):
    monkeypatch.setattr(sampled, "PIXELS", 9)
    monkeypatch.setattr(sampled, "_TILE_BYTES", 1)
    values = np.random.default_rng(1).integers(0, 9, (4, 23, 40), dtype=np.uint8)
    stack = volume(values, name="grain").assign(phase=(("z", "y", "x"), values % 2))
    found = sample(stack.chunk(dict(zip("zyx", chunks, strict=True))), "grain", average=False)
    assert np.array_equal(found.values, values[:, [2, 7, 12, 17, 22]][..., 2::5])


def test_sampled_volume__keeps_slices_at_their_depth(stack):
    bins = sample(stack, "intensity", voltage=1).bins["z"]
    assert bins.edges.tolist() == [0, 9, 21, 30, 41, 52, 60, 70]
    assert bins.places.tolist() == stack["z"].values.tolist()


def test_sampled_volume__leaves_out_planes_evenly_in_depth(monkeypatch):
    monkeypatch.setattr(sampled, "PLANES", 3)
    z = np.array([0.0, 1, 2, 3, 10, 20, 29])
    bins = sample(volume(np.zeros((7, 4, 4), np.uint8), z=z), "phase").bins["z"]
    assert bins.numbers[:, 0].tolist() == [0, 4, 5]  # at 0, 13 and 26 nm
    assert bins.edges.tolist() == [0, 10, 20, 39]


@pytest.fixture
def stored(tmp_path):
    """A stored phase of 40 planes of 200 × 160 pixels, with a coarser level of half as many."""
    values = np.random.default_rng(2).integers(0, 2, (40, 200, 160), dtype=np.uint8)
    path = fibdask.save_stack(volume(values), tmp_path / "a.zarr", pyramid=True)
    return fibdask.open_stack(path)


@pytest.fixture
def decoded(monkeypatch):
    """Return the folders that are read, each with the bytes of the chunks that are decoded."""
    read, whole = [], StoredArray.read

    def counted(self, region, values):
        chunks = [
            range(s.start // c * c, s.stop, c) for s, c in zip(region, self.chunk, strict=True)
        ]
        sizes = [
            sum(min(c, n - start) for start in starts)
            for starts, c, n in zip(chunks, self.chunk, self.shape, strict=True)
        ]
        read.append((self.path, int(np.prod(sizes)) * self.dtype.itemsize))
        return whole(self, region, values)

    monkeypatch.setattr(StoredArray, "read", counted)
    return read


def test_sampled_volume__reads_the_coarsest_level_that_is_fine_enough(
    stored, decoded, monkeypatch, tmp_path
):
    monkeypatch.setattr(sampled, "PIXELS", 100)
    monkeypatch.setattr(sampled, "PLANES", 20)
    found = sample(stored, "phase")
    level = fibdask.open_stack(tmp_path / "a.zarr" / "scale1")["phase"].values
    assert {path for path, _ in decoded} >= {str(tmp_path / "a.zarr" / "scale1" / "phase")}
    assert str(tmp_path / "a.zarr" / "phase") not in {path for path, _ in decoded}
    assert np.array_equal(found.values, level)
    assert found.bins["z"].numbers[:2].tolist() == [[0, 1], [2, 3]]
    assert found.bins["y"].edges[:3].tolist() == [-1.5, 4.5, 10.5]


def test_sampled_volume__decodes_no_more_than_it_may(tmp_path, decoded, monkeypatch):
    values = np.random.default_rng(2).integers(0, 2, (300, 64, 64), dtype=np.uint8)
    path = fibdask.save_stack(volume(values), tmp_path / "a.zarr", pyramid=False)
    stack, most = fibdask.open_stack(path), 3 * 64**3
    assert stack["phase"].data.chunksize[0] > 1
    monkeypatch.setattr(sampled, "READ_BYTES", most)
    found = sample(stack, "phase")
    assert sum(size for _, size in decoded) <= most
    numbers = found.bins["z"].numbers[:, 0]
    assert 2 <= len(numbers) <= 3
    assert np.array_equal(found.values, values[numbers])
    monkeypatch.setattr(sampled, "READ_BYTES", 1000)
    decoded.clear()
    assert sample(stack, "phase") is None
    assert not decoded


# What the page holds


def test_look_section__is_small_however_noisy_volumes_are():
    noise = np.random.default_rng(3).integers(0, 256, (1, 120, 210, 210), dtype=np.uint8)
    stack = volume(noise, name="intensity", voltage=[2]).assign(
        phase=(("z", "y", "x"), noise[0] // 128)
    )
    assert len(look_section({"import": stack}).html()) < 2.2e6


def test_look_section__shows_each_volume_as_the_last_stage_stored_it(stack, tmp_path):
    stored = fibdask.open_stack(fibdask.save_stack(stack, tmp_path / "a.zarr"))
    moved = stored.fib.reposition_slices(spacing=10)  # its images are not computed
    moved = moved.assign(phase=moved["phase"].compute())
    text = look_section({"import": stored, "reposition": moved}).html()
    assert re.findall('"radio"[^>]*>(.*?)</label>', text) == ["1 kV", "2 kV", "phase"]
    assert re.search("phase: all [0-9]+ planes", text)
    assert re.search("1 kV: .* all 7 slices", text)


def test_look_section__says_what_is_left_out(stack, monkeypatch):
    def broken(stack, name, **options):
        if name == "phase":
            raise OSError("shard <c/0> is torn")
        return None if options["voltage"] else whole(stack, name, **options)

    whole = sampled_volume
    monkeypatch.setattr("fibdask.report.sections.look.sampled_volume", broken)
    text = look_section({"import": stack}).html()
    assert "phase could not be read: shard &lt;c/0&gt; is torn" in text
    assert "2 kV is not here: it has no pyramid" in text
    assert text.count('type="radio"') == 1


def test_look_section__escapes_names(stack):
    name = '"><script>alert(1)</script>'
    odd = stack[["phase"]].rename(phase=name)
    odd[name].attrs |= {"flag_values": [0, 1], "flag_meanings": "<b> &c", "flag_colors": "#fff no"}
    text = look_section({"import": odd}).html()
    assert "<script" not in text
    assert "<b>" not in text.replace("<b>100 nm</b>", "").replace("<b>50 nm</b>", "")
    assert "&lt;b&gt;" in text
    assert "&amp;c" in text


def test_look_section__each_volume_has_the_legend_of_its_own_colours(stack):
    text = look_section({"import": stack}).html()
    legends = re.findall(r'<span class="legend">(.*?)</span>(?!<span>|</span>)', text)
    words = [re.findall(r"</i>([^<]*)", legend) for legend in legends]
    assert re.findall('"radio"[^>]*>(.*?)</label>', text) == ["1 kV", "2 kV", "phase"]
    assert words == [[], [], ["pore", "solid"]]


# What the sliders show


@pytest.fixture(scope="module")
def looked(browser, tmp_path_factory):
    """The page of uneven slices at two voltages, and of the even planes made of them."""
    rng = np.random.default_rng(7)
    z = np.array([0.0, 9, 21, 30, 41, 52, 60])
    rows = (
        np.linspace(20, 200, 24)[:, None] + np.zeros((7, 24, 30)) + 5 * np.arange(7)[:, None, None]
    )
    images = np.stack([rows, 255 - rows]).astype(np.uint8)
    first = volume(images, z, "intensity", voltage=[1, 2.5])
    phase = rng.integers(0, 2, (10, 24, 30), dtype=np.uint8)
    second = volume(phase, 7.0 * np.arange(10), nominal_thickness=7.0)
    measured = np.arange(10) != 4
    second = second.assign_coords(measured=("z", measured))
    second = record_step(second, "reposition_slices", {"spacing": 7.0}, "abc")
    page = tmp_path_factory.mktemp("look") / "report.html"
    stages = {"import": first, "reposition": second}
    write_report(page, stages=stages, statistics=None, summary={"title": "<b>"})
    browser.open(page.as_uri())
    browser.wait("document.querySelector('.look') && !document.querySelector('.look').hidden")
    return browser, images, phase, z


def choose(page, title):
    """Choose a layer as somebody does, and return what the page says of it."""
    page.run(f"[...document.querySelectorAll('.look fieldset label')]"
             f".find((label) => label.textContent === '{title}').click()")  # fmt: skip
    return page.run("document.querySelector('.look .note').textContent")


def legend_of(page):
    """Return the words of the legends that are to be seen."""
    return page.run(
        "[...document.querySelectorAll('.look .legend')].filter((one) => one.checkVisibility())"
        ".map((one) => one.textContent).join('')"
    )


def move(page, axis, number):
    """Move a slider, and return the place that is told."""
    page.run(
        f"(() => {{ const slider = document.querySelector('.look [type=range][name={axis}]');"
        f" slider.value = {number}; slider.dispatchEvent(new Event('input')); }})()"
    )
    return page.run(f"document.querySelector('.look output[name={axis}]').textContent")


def seen(page, view, down, across):
    """Return the colours (down, across, rgb) of a plane at places in nm from the frame's edge."""
    pixels = page.run(
        "(() => {"
        f" const canvas = document.querySelector('.look canvas[data-axes={view}]');"
        " const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " return [canvas.width, canvas.height, ...data.data]; })()"
    )
    picture = np.array(pixels[2:]).reshape(pixels[1], pixels[0], 4)[..., :3]
    length = {"x": 120, "y": 72, "z": 70}
    rows = (np.asarray(down) / length[view[1]] * pixels[1]).astype(int)
    columns = (np.asarray(across) / length[view[0]] * pixels[0]).astype(int)
    return picture[rows][:, columns]


def named(colours):
    """Return the names of colours (…, rgb)."""
    distance = np.stack(
        [np.abs(colours - 255 * np.array(c)).max(axis=-1) for c in COLOURS.values()]
    )
    assert distance.min(axis=0).max() < 3
    return np.array(list(COLOURS))[distance.argmin(axis=0)]


# A quarter of a voxel from its edge, where no line marks another plane.
X, Y = 4.0 * np.arange(30) + 1, 3.0 * np.arange(24) + 0.75


@needs_chromium
def test_report__sliders_show_the_voxels_of_each_plane(looked):
    page, _, phase, _ = looked
    assert choose(page, "phase") == "phase: all 10 planes."
    assert legend_of(page) == "poresolidno data"
    names = np.where(phase == 1, "solid", "pore")
    names[4] = "gap"
    depths = 7.0 * np.arange(10) + 1.5
    for number in (0, 4, 9):
        assert move(page, "z", number) == f"z = {7 * number} nm, plane {number}"
        assert np.array_equal(named(seen(page, "xy", Y, X)), names[number])
    assert move(page, "y", 23) == "y = 69 nm"
    assert np.array_equal(named(seen(page, "xz", depths, X)), names[:, 23])
    assert move(page, "x", 2) == "x = 8 nm"
    assert np.array_equal(named(seen(page, "zy", Y, depths)), names[:, :, 2].T)


@needs_chromium
def test_report__sliders_show_uneven_slices_at_their_depth(looked):
    page, images, _, z = looked
    note = choose(page, "2.5 kV")
    assert legend_of(page) == ""
    low, high = map(
        float, re.search(r"black is ([\d.]+), white ([\d.]+); all 7 slices", note).groups()
    )
    move(page, "x", 20)
    depths = np.append(z + 1, np.append(z[1:], 70) - 1)  # the first and the last nm of each slice
    slices_there = np.append(np.arange(7), np.arange(7))
    grey = seen(page, "zy", Y, depths)[..., 0]
    wanted = (images[1, slices_there, :, 20].T - low) / (high - low) * 255
    assert np.abs(grey - wanted.clip(0, 255)).max() < 12
    assert move(page, "z", 3) == "z = 30 nm, slice 3"


@needs_chromium
def test_report__another_volume_is_seen_at_the_same_depth(looked):
    page, *_ = looked
    choose(page, "1 kV")
    move(page, "z", 5)
    choose(page, "phase")
    told = "document.querySelector('.look output[name=z]').textContent"
    assert page.run(told) == "z = 56 nm, plane 8"  # of 52 to 60 nm, the middle


@needs_chromium
def test_report__sliders_move_by_keys_and_clicks(looked):
    page, *_ = looked
    choose(page, "1 kV")
    move(page, "z", 0)
    page.run("document.querySelector('.look [type=range][name=z]').focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    told = "document.querySelector('.look [type=range][name=z]').getAttribute('aria-valuetext')"
    assert page.run(told) == "z = 21 nm, slice 2"
    page.run(
        "(() => { const canvas = document.querySelector('.look canvas[data-axes=xz]');"
        " const { left, top } = canvas.getBoundingClientRect();"
        " const place = { clientX: left + 0.5 * canvas.clientWidth,"
        " clientY: top + 0.9 * canvas.clientHeight };"
        " canvas.dispatchEvent(new MouseEvent('click', place)); })()"
    )
    assert page.run(told) == "z = 60 nm, slice 6"
    assert page.run(told.replace("name=z", "name=x")) == "x = 60 nm"


@needs_chromium
def test_report__runs_no_scripts_but_its_own(looked):
    page, *_ = looked
    added = "const s = document.createElement('script'); s.textContent = 'window.taken = 1';"
    assert (
        page.run(f"(() => {{ {added} document.body.append(s); return window.taken; }})()") is None
    )


@needs_chromium
@pytest.mark.parametrize("width", [1280, 400])
def test_report__is_no_wider_than_the_window(looked, width):
    page, *_ = looked
    page.resize(width, 900)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.querySelector('.look canvas').clientWidth") > 100
