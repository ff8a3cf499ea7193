"""find_series: which files, in which order, and what their names tell."""

import pytest

from fibdask.conventions import StackReadError
from fibdask.io.images.files import find_series


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


@pytest.mark.parametrize(
    ("names", "numbers", "origin"),
    [
        (["a_1", "a_2", "a_10"], (1, 2, 10), "the number in a_[1]"),
        (["a_0_WD5004um", "a_100_WD5003um"], (0, 100), "the number in a_[0]_WD5004um"),
        (["a_0_WD5004", "a_100_WD5003.5"], (0, 100), "the number in a_[0]_WD5004"),
        (["a_0_x-7_y12", "a_1_x-9_y12", "a_2_x3_y12"], (0, 1, 2), "the number in a_[0]_x-7_y12"),
        (["slice_1_id93", "slice_2_id78"], (1, 2), "the number in slice_[1]_id93"),
        (["x_1", "x_3"], (1, 3), "the number in x_[1]"),
        (["z-2", "z-1", "z0", "z1"], (-2, -1, 0, 1), None),
        (["pos_-10", "pos_9"], (-10, 9), None),
        (["run1_1", "run1_2", "run2_3"], (1, 2, 3), "the number in run1_[1]"),
        (["20210301_000001", "20210301_000002", "20210301_000004"], (1, 2, 4), None),
        (["20210301_0057", "20210301_0058", "20210301_0061"], (57, 58, 61), None),
        (["20210301_0001", "20210302_0002"], (1, 2), "the number in 20210301_[0001]"),
        (["2021-03-31_a7_12-00-05", "2021-04-01_a8_00-00-05"], (7, 8), None),
        (["slice_010100", "slice_010200", "slice_010300"], (10100, 10200, 10300), None),
        (["000000", "000002", "000004"], (0, 2, 4), "the number in [000000]"),
        (["name2.0001", "name2.0003"], (1, 3), "the number in name2.[0001]"),
        (["name2.8", "name2.9", "name2.10"], (8, 9, 10), "the number in name2.[8]"),
        (["20210301_123015.001", "20210301_123015.003"], (1, 3), None),
        (["Z-000", "Z-001"], (0, 1), None),
    ],
)
def test_find_series__number_that_counts_gives_the_order(tmp_path, names, numbers, origin):
    series = find_series(touch(tmp_path, *(f"{name}.tif" for name in reversed(names))))
    assert [file.stem for file in series.files] == names
    assert series.numbers == numbers
    assert series.origin == (origin or series.origin)
    assert not series.remarks


@pytest.mark.parametrize(
    "names",
    [
        ["20210301_235930", "20210302_000031", "20210302_000130"],
        ["2021-12-31T23-59-30", "2022-01-01T00-00-31", "2022-01-01T00-01-30"],
        ["2021_12_31_23_59_30", "2022_01_01_00_00_31", "2022_01_01_00_01_30"],
        ["20211231235930123", "20220101000031007", "20220101000130500"],
        ["211231_235930", "220101_000031", "220101_000130"],
        ["31-12-2021_23-59-30", "01-01-2022_00-00-31", "01-01-2022_00-01-30"],
        ["2021-03-01T12-30-15.871Z", "2021-03-01T12-30-47.002Z", "2021-03-01T12-31-15.34Z"],
        ["2021-03-01_23-55-00", "2021-03-01_23-56-00", "2021-03-02_00-00-00"],
        ["t1614556800", "t1614556860", "t1614556980"],
        ["t1614556799", "t1614556859", "t1614556919"],
        ["t1614556799123", "t1614556859456", "t1614556919789"],
    ],
)
def test_find_series__times_give_the_order_and_count_nothing(tmp_path, names):
    series = find_series(touch(tmp_path, *(f"{name}.tif" for name in names)))
    assert [file.stem for file in series.files] == names
    assert series.numbers is None
    assert series.origin.startswith("the time in ")
    assert not series.remarks


@pytest.mark.parametrize(
    "names",
    [
        ["a_093015", "a_093247", "a_100112"],
        ["a_09-30-15", "a_09-32-47", "a_10-01-12"],
        ["a_20210301_0955", "a_20210301_1000", "a_20210301_1007"],
        ["a_20210301_010100", "a_20210301_010200", "a_20210301_010300"],
    ],
)
def test_find_series__times_that_may_be_numbers_are_remarked(tmp_path, names):
    series = find_series(touch(tmp_path, *(f"{name}.tif" for name in names)))
    assert series.numbers is None
    assert "which counts no slices" in series.remarks[0]


@pytest.mark.parametrize(
    ("names", "depths"),
    [
        (["z_0.00um", "z_0.02um", "z_0.04um"], (0.0, 20.0, 40.0)),
        (["depth9.5nm", "depth10nm", "depth10.5nm"], (9.5, 10.0, 10.5)),
        (["z=-1.5um", "z=-1um"], (-1500.0, -1000.0)),
        (["z_0,02um", "z_0,1um"], (20.0, 100.0)),
    ],
)
def test_find_series__depths_with_a_unit_give_the_order(tmp_path, names, depths):
    series = find_series(touch(tmp_path, *(f"{name}.tif" for name in reversed(names))))
    assert [file.stem for file in series.files] == names
    assert series.depths == depths
    assert series.numbers is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["t1000_s1", "t1100_s3", "t1200_s2"], r"in t\[1000\]_s1 puts t1100_s3.* in t1000_s\[1\]"),
        (["a_0_f5004", "a_100_f5003"], r"a_\[0\]_f5004 puts .* a_0_f\[5004\] puts it after"),
        (["run1_1", "run2_2", "run1_3"], r"in run1_\[1\] puts run2_2.* in run\[1\]_1 puts"),
        (["1_c1", "2_c2", "3_c1"], r"puts 2_c2.tif before 3_c1.tif"),
        (["slice_1_z=2um", "slice_2_z=1um"], r"the depth in slice_1_\[z=2um\] puts it after"),
        (["slice_1_c1", "slice_2_c2", "slice_3_c1"], r"slice_1_c\[1\] puts it after"),
        (["z-0003", "z-0002", "z-0001"], "read as a dash and a number, puts it after"),
        (["z-0.3um", "z-0.2um"], "read as a dash and a number, puts it after"),
        (["a_-3", "a_-2"], "read as a dash and a number, puts it after"),
        (["a_235730", "a_235930", "a_000130"], "read as times over midnight, puts it after"),
        (["01-02-2021_12-00-01", "02-01-2021_12-00-01"], "read as month, day, puts it after"),
        (["20210301_2357", "20210301_2359", "20210302_0000"], None),
        (["z_0.00", "z_0.02"], r"the decimal in \[z_0.00\] has no unit"),
        (["a_0.1", "a_0.15", "a_0.2"], r"the decimal in a_\[0.1\] has no unit"),
        (["a_0.5", "a_1.5", "a_10.5"], r"the decimal in a_\[0.5\] has no unit"),
        (["a_1_b0.9", "a_2_b0.15"], r"the decimal in a_1_b\[0.9\] puts it after"),
        (["z8e-7", "z9e-7", "z1e-6"], r"the decimal in z\[1e-6\] has no unit"),
        (["a_1_z1.0e-06", "a_2_z9.5e-07"], r"the decimal in a_1_z\[1.0e-06\] puts it after"),
        (["a_20nm", "a_40nm"], "no number that counts"),
        (["a_WD5004", "a_WD5003"], "no number that counts"),
    ],
)
def test_find_series__of_two_readings_that_disagree_none_is_guessed(tmp_path, names, message):
    folder = touch(tmp_path, *(f"{name}.tif" for name in names))
    if message is None:
        assert [file.stem for file in find_series(folder).files] == names
        return
    with pytest.raises(StackReadError, match=f"the order of .* is not clear: .*{message}"):
        find_series(folder)
    series = find_series([folder / f"{name}.tif" for name in names])
    assert [file.stem for file in series.files] == names
    assert series.origin == "the list of files"
    assert "the order of the list is taken" in series.remarks[0]


def test_find_series__tells_of_lists_in_another_order_than_the_names(tmp_path):
    folder = touch(tmp_path, *(f"s_{k}.tif" for k in range(4)))
    files = [folder / f"s_{k}.tif" for k in range(4)]
    assert not find_series(files).reordered
    assert not find_series(folder).reordered
    shuffled = find_series([files[k] for k in (0, 2, 1, 3)])
    assert shuffled.files == tuple(files)
    assert shuffled.reordered == "in the list of files s_2.tif is number 2, by their names s_1.tif"
    assert not shuffled.remarks
    (remark,) = find_series(files[::-1]).remarks
    assert "s_3.tif is number 1" in remark
    assert "puts them upside down, and is taken" in remark


def test_find_series__two_numbers_of_other_steps_are_remarked(tmp_path):
    series = find_series(touch(tmp_path, "t1000_s1.tif", "t1100_s2.tif"))
    assert series.numbers == (1000, 1100)
    assert "t[1000]_s1 is taken, not the number in t1000_s[1]" in series.remarks[0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no images .* nothing"),
        (["a.jpg", "sub/a1.png"], "holds no images .* it holds a.jpg, sub: JPEG has changed"),
        (["one/a1.png", "two/a1.png"], r"it holds one, two: give a folder .*/\*/\*\.tif'"),
        (["b.h5", "b.txt"], r"it holds b.h5, b.txt: give a file, such as .*b\.h5"),
        (["slice_a.png", "slice_b.png"], "hold no number .* slice_a.png and slice_b.png; number"),
        (["a1.png", "a2.tif"], r"found PNG and TIFF: give a pattern such as '.*/\*\.(png|tif)'"),
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
        ("br [1]/*.tif", r"no file matches .*\.tif; characters in brackets stand for one of them"),
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
