from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import pytest

from fibdask import ConventionError
from fibdask.blocks import fingerprint, revised


def record(module="fibdask.stage.one", **members):
    """Return a record of a class as if it lay in a module of the package."""

    @dataclass(frozen=True)
    class Record:
        value: object = 1

    for name, member in ({"__module__": module, "__qualname__": "Record"} | members).items():
        setattr(Record, name, member)
    return Record


def sums(counts):
    return counts


@revised(2)
def revised_sums(counts):
    return counts


revised_sums.__qualname__ = "sums"


def wrapped(value):
    return [
        value,
        (3, value),
        {"of": value},
        partial(sums, value, 2),
        partial(sums, of=value),
        record()(record()(value)),
    ]


@pytest.mark.parametrize("place", range(6))
def test_fingerprint__changes_with_a_revision_however_deep(place):
    first, same, second = record()(), record()(), record(revision=2)()
    tokens = [fingerprint(wrapped(value)[place]) for value in (first, same, second)]
    assert tokens[0] == tokens[1] != tokens[2]


def test_fingerprint__changes_with_the_revision_of_a_function():
    assert fingerprint(sums) != fingerprint(revised_sums)


def test_fingerprint__changes_with_fields():
    Record = record()
    values = [1, 1.0, "1", (1,), [1], np.arange(3), np.arange(3.0), slice(1, 3), None, sums]
    assert len({fingerprint(Record(value)) for value in values}) == len(values)


def test_fingerprint__stays_where_a_module_moves_within_its_package():
    one, other, elsewhere = (
        fingerprint(record(f"fibdask.{module}")(3))
        for module in ("stage.one", "stage.deep.two", "others.one")
    )
    assert one == other != elsewhere


def test_fingerprint__of_what_has_one_is_that():
    def weights(token, path):
        return record(fingerprint=token)(path)

    one, same, other = weights("a", "here"), weights("a", "there"), weights("b", "here")
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def test_fingerprint__refuses_what_has_none_in_other_processes():
    with pytest.raises(ConventionError, match="no fingerprint that holds in other processes"):
        fingerprint(record()(Lock()))
