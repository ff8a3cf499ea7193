"""find_series: which files, in which order, and what their names tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import StackReadError
from fibdask.io.files import find_series, missing_numbers


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_find_series__order_is_that_of_numbers(tmp_path):
    series = find_series(touch(tmp_path, "a10.png", "a9.png", "a008.png"))
    assert [file.name for file in series.files] == ["a008.png", "a9.png", "a10.png"]
    assert series.numbers == (8, 9, 10)


def test_find_series__pattern_list_and_relative_path_agree(tmp_path, monkeypatch):
    touch(tmp_path, "s/a1.png", "s/a2.png", "s/b.txt")
    monkeypatch.chdir(tmp_path)
    expected = find_series("s").files
    assert find_series("s/*.png").files == expected
    assert find_series([expected[1], str(expected[0])]).files == expected
    assert [f.name for f in find_series(tmp_path / "**" / "*.png").files] == ["a1.png", "a2.png"]


def test_find_series__depths_of_atlas_names(tmp_path):
    names = [f"slice_{k:05}_z={z}um.tif" for k, z in ((101, 1.0988), (100, 1.0894), (103, 1.118))]
    series = find_series(touch(tmp_path, *names))
    assert series.numbers == (100, 101, 103)
    assert series.depths == (1089.4, 1098.8, 1118.0)


def test_find_series__times_in_names_count_nothing(tmp_path):
    names = ["G-7_24-12-16_151317_0-0-0.dat", "G-7_24-12-16_091317_0-0-0.dat"]
    series = find_series(touch(tmp_path, *names))
    assert series.numbers is None
    assert [file.name for file in series.files] == sorted(names)


def test_find_series__of_two_counting_numbers_the_dense_one_is_taken(tmp_path):
    series = find_series(touch(tmp_path, "t1200_s2.tif", "t1000_s1.tif", "t1100_s3.tif"))
    assert series.numbers == (1, 2, 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no images .* nothing"),
        (["a.jpg", "sub/a1.png"], "holds no images .* it holds a.jpg, sub"),
        (["a1.png", "a2.tif"], "found PNG and TIFF"),
        (["a1.png", "b2.png"], "more than one series: a1.png and b2.png"),
        (["a1.png", "a01.png"], "a slice twice"),
        (["a1_c1.png", "a1_c2.png", "a2_c1.png", "a2_c2.png"], "more than one series"),
    ],
)
def test_find_series__refuses_what_is_not_one_series(tmp_path, names, message):
    with pytest.raises(StackReadError, match=message):
        find_series(touch(tmp_path, *names))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere does not exist"),
        ("*.png", r"no file matches .*\*\.png"),
        ("a.jpg", r"extension \.jpg; readable are \.tif"),
    ],
)
def test_find_series__refuses_what_is_not_there_or_not_readable(tmp_path, source, message):
    touch(tmp_path, "a.jpg")
    with pytest.raises(StackReadError, match=message):
        find_series(tmp_path / source)


def test_find_series__refuses_empty_and_lost_lists(tmp_path):
    with pytest.raises(StackReadError, match="empty"):
        find_series([])
    with pytest.raises(StackReadError, match=r"lost\.png is not a file"):
        find_series([tmp_path / "lost.png"])


@given(st.sets(st.integers(0, 60), min_size=1))
def test_missing_numbers__with_those_present_are_all(present):
    numbers = sorted(present)
    missing = set()
    for part in filter(None, missing_numbers(numbers).split(", ")):
        first, _, last = part.partition("-")
        missing |= set(range(int(first), int(last or first) + 1))
    assert missing == set(range(numbers[0], numbers[-1] + 1)) - present
