"""Pages are true: links, names and messages are there, and blocks print what stands below them."""

import ast
import json
import re
import shlex
import textwrap
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import fibdask
from docs import pages
from fibdask.io.images.registry import FORMATS
from fibdask.run.cli import cli
from fibdask.run.cli.pages import page_of
from fibdask.run.cli.reference import command_reference

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    chain(
        ROOT.glob("*.md"),
        *(ROOT.glob(f"{folder}/*.md") for folder in ("docs", "examples", "deploy", "deploy/*")),
    )
)
FENCE = re.compile(r"^ *(```|:::).*?^ *\1", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"^#+ (.*)", re.MULTILINE)


def page(name):
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


# Links


@cache
def headings(path):
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in TITLE.findall(text))
    return {title.replace(" ", "-") for title in titles}


def drawn():
    """Return the names of the figures that the blocks of pages draw."""
    code = "".join(code for name in pages.RUN for code, _ in pages.blocks(name))
    return set(re.findall(r'savefig\("([^"]+)"', code))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages__links_lead_somewhere(path):
    text = re.sub(r"```(?!\{).*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|<(https?:[^>]*)>", text):
        address = urlsplit(target[0] or target[1])
        if address.scheme:
            assert address.scheme == "https", target
            assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", address.netloc), target
            continue
        file = (path.parent / address.path).resolve() if address.path else path
        assert file.exists() or file.name in drawn(), target
        assert not address.fragment or address.fragment in headings(file), target


def test_pages__of_the_site_are_each_in_one_table_of_contents():
    listed = []
    for path in (ROOT / "docs").glob("*.md"):
        for table in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(), re.DOTALL):
            names = [line for line in table.splitlines() if line and line[0] != ":"]
            listed += [(path.parent / f"{name}.md").resolve() for name in names]
    assert len(listed) == len(set(listed))
    assert {p for p in PAGES if p.parent != ROOT} == {p for p in listed if p.parent != ROOT} | {
        ROOT / "docs" / "index.md"
    }


# Names


def test_api__has_every_public_name_once():
    named = re.findall(r"^   (\w+)$", page("api"), re.MULTILINE)
    assert sorted(named) == fibdask.__all__


def test_commands__is_written_from_the_commands():
    assert page("commands") == command_reference(), "write it: python -m fibdask.run.cli.reference"


@pytest.mark.parametrize("name", cli.commands)
def test_command_reference__tells_what_every_option_means(name):
    part = command_reference().split(f"## `fibdask {name}`\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line[:3] == "| `"]
    assert len(rows) >= 1
    assert all(len(row) == 2 and row[1][0] != "[" for row in rows), rows


def code(language):
    """Return the blocks of all pages in a language."""
    fence = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    texts = (path.read_text(encoding="utf-8") for path in PAGES)
    return [textwrap.dedent(block) for text in texts for block in fence.findall(text)]


def test_pages__name_commands_and_options_that_are_there():
    lines = "\n".join(code("sh")).replace("\\\n", " ").splitlines()
    calls = [shlex.split(line, comments=True) for line in lines if line.startswith("fibdask ")]
    assert len(calls) > 50
    for _, name, *arguments in calls:
        if name[0] == "-":
            continue
        known = {option for one in cli.commands[name].params for option in one.opts}
        known |= {option for one in cli.commands[name].params for option in one.secondary_opts}
        used = {argument for argument in arguments if argument.startswith("--")}
        assert used <= known, (name, used - known)


def keys():
    """Return the keys of all tables of recipes and trainings, and those of profiles."""
    found = {}
    for part in re.split("^## ", page("recipes") + page("training"), flags=re.MULTILINE):
        names = re.findall(r"^`\[(\w+)\]`", part)
        rows = re.findall(r"^\| `(\w+)` ", part, re.MULTILINE)
        found |= {name: found.get(name, set()) | {*rows} for name in names}
    return found, {"gpu", *re.findall(r"^\| `(\w+)` ", page("profiles"), re.MULTILINE)}


def test_pages__name_tables_and_keys_that_are_there():
    tables, profiles = keys()
    recipes = [tomllib.loads(block) for block in code("toml")]
    assert len(recipes) > 15
    for recipe in recipes:
        if {name for name, value in recipe.items() if not isinstance(value, dict)} - {"title"}:
            assert {*recipe} <= profiles
            continue
        for name, table in recipe.items():
            known = tables.get(name, profiles if name == "gpu" else {})
            assert name == "title" or {*table} <= {*known}, (name, table)


def test_citation__is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fibdask.__version__}\n" in text


def test_validation__has_the_figures_of_the_card():
    card = Path(fibdask.__file__).parent / "learn" / "models" / "gold-windows" / "card.json"
    rows = [
        (one["voltages"], one["electrons_per_pixel"], one["on_slices"], one["between"])
        for one in json.loads(card.read_text())["errors"]["conditions"]
    ]
    row = re.compile(r"^\| (\d.*) kV \| (\d+) \| (.*) % \| (.*) % \|$", re.MULTILINE)
    written = row.findall(page("validation"))
    assert len(written) == 5
    for voltages, electrons, *errors in written:
        known = [float(kv) for kv in re.findall(r"\d", voltages)]
        (told,) = (one for one in rows if one[:2] == (known, float(electrons)))
        assert errors == [f"{error:.2f}" for error in told[2:]]


def test_formats__of_images_are_in_the_tables():
    read = page("formats").partition("\n## In\n")[2].partition("\n## ")[0].splitlines()
    (in_parts,) = (row for row in page("remote").splitlines() if "| parts of it" in row)
    for known in FORMATS:
        assert any(known.name in row.replace("`", "") for row in read if row.startswith("|"))
        assert (known.name in in_parts) == known.remote
        for suffix in () if known.series else known.suffixes:
            (row,) = (row for row in read if row.startswith("|") and f"`{suffix}`" in row)
            assert ("`channel`" in row) == ("channel" in known.options)


# Messages


def literal(node):
    """Return a text of the code, with … for what is filled in; None of anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "…" for part in node.values)
    return None


@cache
def messages():
    """Return all texts of the code."""
    trees = (ast.parse(file.read_text()) for file in Path(fibdask.__file__).parent.rglob("*.py"))
    return [text for tree in trees for node in ast.walk(tree) if (text := literal(node))]


def told():
    """Return the messages that the page about faults quotes."""
    rows = re.findall(r"^\| (.*?) \| ", page("troubleshooting"), re.MULTILINE)
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("text", told())
def test_troubleshooting__quotes_messages_of_the_code(text):
    pieces = [re.escape(piece.strip("… ")) for piece in text.split("…") if piece.strip(" .,:;()")]
    pattern = re.compile(".*".join(pieces), re.DOTALL)
    assert any(pattern.search(message) for message in messages())


ERRORS = [name for name in fibdask.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("name", ERRORS)
def test_errors__name_a_page_and_a_heading_that_are_there(name):
    path, _, heading = page_of(getattr(fibdask, name)()).partition("#")
    assert heading in {"", *headings(ROOT / path)}


@pytest.mark.parametrize(
    ("cause", "heading"),
    [
        ("MemoryError: ", "memory-disks-and-interruptions"),
        ("OSError: No space left on device\nthe disk of out is full", "memory-disks-and-inter"),
        ("StackReadError: slice 3 cannot be read: it is empty", ""),
    ],
)
def test_errors__of_blocks_name_the_page_of_their_cause(cause, heading):
    error = fibdask.BlocksFailedError(f"1 block failed\nsegment: block (0, 0, 0) (z 0:9): {cause}")
    path, _, found = page_of(error).partition("#")
    assert path == "docs/troubleshooting.md"
    assert found.startswith(heading)
    assert bool(found) == bool(heading)


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("out/run.json cannot be written: No space left on device", "memory-disks"),
        ("out is being written by another process; wait for it, or stop it", "memory-disks"),
        ("output path a exists and is not the folder of a run; choose another or", "recipes"),
        ("gold is not the folder of a run: run.json: No such file or directory", "recipes"),
        ("stack.zarr holds no phase; segment it first", "phases-and-networks"),
        ("nothing is painted in paint/labels", "phases-and-networks"),
    ],
)
def test_errors__of_folders_name_the_page_of_their_cause(text, heading):
    assert page_of(fibdask.StackReadError(text)).partition("#")[2].startswith(heading)


# Blocks


@pytest.mark.parametrize("name", pages.RUN)
@pytest.mark.filterwarnings("ignore::fibdask.FibdaskWarning")
def test_pages__blocks_print_what_is_written_below_them(name, tmp_path):
    images = pages.RUN[name]
    if images and not images.is_dir():
        pytest.skip(f"the real images are not here: no folder ../shared/data/{images.name}")
    for printed, written in pages.run(name, tmp_path):
        assert printed == written
    assert {path.name for path in tmp_path.glob("*.png")} <= drawn()
