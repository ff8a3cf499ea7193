"""Arguments that functions share."""

import numpy as np
import pytest

from fibdask.conventions import (
    ConventionError,
    check_belongs,
    check_choice,
    check_count,
    check_inner_share,
    check_not_negative,
    check_positive,
    check_seed,
    check_share,
    chosen_interval,
)


def test_check_choice__lists_the_words_that_there_are():
    check_choice("method", "otsu", ("otsu", "kmeans"))
    for wrong in ("ostu", None, 3, ["otsu"]):
        with pytest.raises(ConventionError, match="method must be one of otsu, kmeans; got "):
            check_choice("method", wrong, ("otsu", "kmeans"))


@pytest.mark.parametrize(
    ("default", "same", "other"),
    [
        (None, [None], [0, "", False, np.array([]), np.array([1.0, 2.0])]),
        (True, [True, np.True_], [None, False]),
        (0.0, [0, np.float32(0)], [None, 1.5, np.array([0.0])]),
        ("auto", ["auto"], [None, "gpu"]),
    ],
)
def test_check_belongs__refuses_other_values_than_the_default_where_nothing_looks_at_them(
    default, same, other
):
    options = {"width": (default, ("network", "spline"))}
    for value in (*same, *other):
        check_belongs("network", {"width": value}, options)
    for value in same:
        check_belongs("otsu", {"width": value}, options)
    for value in other:
        with pytest.raises(ConventionError) as refusal:
            check_belongs("otsu", {"width": value}, options)
        rule = "width goes with method 'network' and 'spline' only"
        shown = value.item() if isinstance(value, np.generic) else value
        assert str(refusal.value) == f"{rule}; got {shown!r} with 'otsu'"


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2)])
def test_check_positive__returns_the_number(value):
    assert check_positive("width", value, "nm") == 2.0
    assert type(check_positive("width", value)) is float


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, True, np.True_, "2", None, [2.0]])
def test_check_positive__refuses_what_is_no_positive_number(value):
    shown = value.item() if isinstance(value, np.generic) else value
    with pytest.raises(ConventionError) as refusal:
        check_positive("width", value, "nm")
    assert str(refusal.value) == f"width must be finite and > 0 nm; got {shown!r} nm"


def test_check_not_negative__admits_zero_only_besides():
    assert check_not_negative("width", 0) == 0.0
    for wrong in (-1e-9, np.nan, False):
        with pytest.raises(ConventionError, match="width must be finite and >= 0; got "):
            check_not_negative("width", wrong)


def test_check_share__admits_no_percent():
    assert check_share("strength", np.float32(1), "white") == 1.0
    for wrong in (5, -0.1, np.nan, True, "1"):
        with pytest.raises(ConventionError, match="strength must be a share of white, from 0 to 1"):
            check_share("strength", wrong, "white")


def test_check_count__is_a_whole_number_within_bounds():
    assert check_count("lag", np.int64(3), least=3, most=3) == 3
    assert type(check_count("lag", np.uint8(3))) is int
    for wrong in (0, 3.0, True, np.True_, "3", None):
        with pytest.raises(ConventionError, match=r"^lag must be a whole number >= 1; got "):
            check_count("lag", wrong)
    for wrong in (-1, 1001):
        with pytest.raises(ConventionError, match=f"number of voxels from 0 to 1,000; got {wrong}"):
            check_count("lag", wrong, least=0, most=1000, unit="voxels")


def test_check_inner_share__is_neither_none_nor_all():
    assert check_inner_share("share", np.float32(0.5)) == 0.5
    for wrong in (0, 1, np.nan, True, "0.5"):
        with pytest.raises(ConventionError, match=r"^share must be > 0 and < 1; got "):
            check_inner_share("share", wrong)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1", None])
def test_check_seed__is_a_whole_number(seed):
    assert check_seed(np.int64(3)) == 3
    with pytest.raises(ConventionError, match="seed must be a whole number >= 0; got "):
        check_seed(seed)


@pytest.mark.parametrize("pair", [(0, True), (0, 2.5), (0,), 3, None, ("0", 2), (0, np.nan)])
def test_chosen_interval__is_a_pair_of_whole_numbers(pair):
    assert chosen_interval((np.int64(0), 2.0), 5, name="crop") == slice(0, 2)
    with pytest.raises(ConventionError, match="crop must be two whole numbers"):
        chosen_interval(pair, 5, name="crop")
