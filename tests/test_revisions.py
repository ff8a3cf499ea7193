"""No change of code that computes goes without a new revision, and nothing else asks for one."""

import json
from importlib import import_module

import pytest

from tests.revisions import LIST, Code, current, to_raise

KERNELS = '''
"""Kernels."""
from .numbers import HALF

def halved(block):
    """Return half."""
    return block * HALF
'''
FUNCTIONS = '''
from dataclasses import dataclass
from ..blocks import Region
from . import _kernels

@dataclass(frozen=True)
class Halved:
    """Block function."""

    axis: int

    def needs(self, region: Region): return (region,)

    def compute(self, region, block):
        if block.size == 0:
            msg = "nothing"
            raise ValueError(msg)
        return _kernels.halved(block)

    def working_bytes(self, region): return 0

class Again(Halved):
    revision = 3
'''
FINISHED = """
from ..blocks import reduce_blocks, revised
from .functions import Halved

@revised(2)
def total(counts): return counts.sum()

def reduced(block): return reduce_blocks(Halved(0), [block], finish=total)
"""


def package(folder, **files):
    """Return the code of a small package of these texts."""
    texts = {
        "blocks/__init__": "Region = tuple",
        "stage/__init__": "from .functions import Halved",
        "stage/numbers": "HALF = 0.5",
        "stage/_kernels": KERNELS,
        "stage/functions": FUNCTIONS,
        "stage/finished": FINISHED,
    }
    for name, text in (texts | files).items():
        path = folder / "fibdask" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return current(Code(folder / "fibdask"))


def changed(folder, **files):
    """Return whose code differs where files do."""
    before, after = package(folder / "before"), package(folder / "after", **files)
    return [name.rsplit(".", 1)[1] for name in before if before[name] != after[name]]


@pytest.fixture(scope="module")
def code():
    return Code()


def test_revisions__every_function_that_computes_has_one_of_its_own_code(code):
    known, now = json.loads(LIST.read_text()), current(code)
    assert not to_raise(known, now), "\n".join(to_raise(known, now))
    stale = {name for name in known.keys() | now.keys() if known.get(name) != now.get(name)}
    assert not stale, f"run python -m tests.revisions, for {', '.join(sorted(stale))}"


def test_revisions__names_tell_functions_apart(code):
    labels = [place.label for place in code.listed]
    assert len(labels) == len(set(labels))


def test_revisions__are_those_that_fingerprints_see(code):
    for place in code.listed:
        value = getattr(import_module(place.module), place.name)
        assert getattr(value, "revision", 1) == code.revision(place), place.label


def test_current__lists_block_functions_and_what_finishes_with_their_revisions(tmp_path):
    assert {name: row["revision"] for name, row in package(tmp_path).items()} == {
        "fibdask.stage.Again": 3,
        "fibdask.stage.Halved": 1,
        "fibdask.stage.total": 2,
    }


@pytest.mark.parametrize(
    "files",
    [
        {"stage/numbers": "HALF = 0.25"},
        {"stage/_kernels": KERNELS.replace("* HALF", "/ HALF")},
        {"stage/functions": FUNCTIONS.replace("size == 0", "size < 9")},
    ],
)
def test_hash__changes_with_all_code_that_is_used(tmp_path, files):
    assert changed(tmp_path, **files) == ["Again", "Halved"]


@pytest.mark.parametrize(
    "files",
    [
        {"stage/_kernels": KERNELS.replace("Return half", "Return the half  # of it")},
        {"stage/functions": FUNCTIONS.replace('"nothing"', '"got nothing"')},
        {"stage/functions": FUNCTIONS.replace("axis: int", "axis: float")},
        {"stage/_kernels": KERNELS.replace("    return", "    tell_if_odd(block)\n    return")},
        {
            "stage/_kernels": "",
            "stage/deep/halves": KERNELS.replace("from .", "from .."),
            "stage/functions": FUNCTIONS.replace(
                "from . import _kernels", "from .deep.halves import halved"
            ).replace("_kernels.halved", "halved"),
        },
    ],
)
def test_hash__stays_with_words_annotations_and_moves(tmp_path, files):
    assert changed(tmp_path, **files) == []


def test_to_raise__says_whose_revision_must_be_raised(tmp_path):
    before = package(tmp_path / "before")
    edited = FINISHED.replace("counts.sum()", "counts.max()")
    (sentence,) = to_raise(before, package(tmp_path / "after", **{"stage/finished": edited}))
    assert "fibdask.stage.total computes by other code" in sentence
    assert "set its revision to 3" in sentence
    raised = edited.replace("revised(2)", "revised(3)")
    assert not to_raise(before, package(tmp_path / "raised", **{"stage/finished": raised}))
