"""z tables: units, matching to slices, and what is refused with its place."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning, StackReadError
from fibdask.io.images.read import read_images
from fibdask.io.images.tables import check_steps, read_z_table
from tests.io.naive import grey_volume, taken, write_slices

GIVEN = {"voltage": 2.0, "pixel_size": 4.0}


def table(tmp_path, text):
    path = tmp_path / "z.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name", ["z_um", "z [µm]", "Z (um)", "z um", "depth_um", "thickness_um", "dz_um"]
)
def test_read_z_table__units_are_those_of_the_name(tmp_path, name):
    read = read_z_table(table(tmp_path, f"slice,{name}\n3,0.01\n4,0.02\n"))
    np.testing.assert_allclose(read.values, [10.0, 20.0])
    assert read.slices == (3, 4)
    assert read.is_depth == (name[0] in "zZ" or name.startswith("depth"))


def test_read_z_table__z_wins_over_thickness_and_comments_are_skipped(tmp_path):
    text = "# made by hand\ndz_nm;z_nm;slice\n;5;1\n\n2;7;2\n"
    read = read_z_table(table(tmp_path, text))
    assert (read.column, read.lines) == ("z_nm", (3, 5))
    np.testing.assert_allclose(read.values, [5.0, 7.0])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("z_furlong\n1\n2\n", StackReadError, "unknown unit 'furlong'"),
        ("slice,depth of field\n1,2\n", StackReadError, "unknown unit 'of field'|has the columns"),
        ("a,b\n1,2\n", StackReadError, "has the columns a, b"),
        ("z_nm\n", StackReadError, "holds no rows"),
        ("z_nm\n1\nx\n", StackReadError, "line 3 .* has 'x'"),
        ("slice,z_nm\n1.5,1\n", StackReadError, "whole number; line 2 .* '1.5'"),
        ("thickness_nm\n10\nnan\n", ConventionError, r"finite; slice 1 \(line 3 .* nan nm"),
        ("slice,thickness_nm\n7,10\n8,\n", ConventionError, r"finite; slice 8 \(line 3 .* nan nm"),
        ("thickness_nm\n10\n-0.8\n", ConventionError, r"> 0 nm; slice 1 .* -0.8 nm"),
        ("z_um\n1\n2\n2\n", ConventionError, r"increasing; slice 2 \(line 4 .* 2000 nm after 2000"),
        ("slice,z_um\n2,1\n1,2\n", ConventionError, r"slice numbers .* increasing; slice 1"),
    ],
)
def test_read_z_table__refuses_with_the_place(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_z_table(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("slice,z_nm\n0,0\n1,10,5\n", r"line 3 .* has 3 \(1 \| 10 \| 5\), the header 2"),
        ("z_nm\n10,5\n21,5\n", "line 2 .* has 2 .*, the header 1"),
        ("slice,z_nm,note\n0,0,0,\n1,10,5,\n", "line 2 .* has 4 .*, the header 3"),
        ("slice,z_nm,\n0,0,0\n1,10,5\n", "line 2 .* has 3 .*, the header 2"),
        ("slice;z_nm\n0;0\n1;10.5;refocused\n", "line 3 .* has 3 .*refocused"),
        ("slice\tdz_um\n0\t10\t5\n1\t10\t5\n", "line 2 .* has 3"),
    ],
)
def test_read_z_table__more_cells_than_the_header_has_are_refused(tmp_path, text, place):
    with pytest.raises(StackReadError, match=f"{place}.*: are there decimals after a comma"):
        read_z_table(table(tmp_path, text))


@pytest.mark.parametrize("end", ["", ";", ";;"])
def test_read_z_table__separators_at_the_end_are_no_cells(tmp_path, end):
    read = read_z_table(table(tmp_path, f"slice;z_nm\n0;0{end}\n1;10.5{end}\n"))
    np.testing.assert_allclose(read.values, [0.0, 10.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slice;z_nm\n0;0,0\n1;10,5\n", "has '0,0': write the decimals after a point"),
        ("slice,z_nm\n-,nm\n0,0\n1,9\n", "z_nm must be a number; line 2 .* has 'nm'"),
        ("slice,z_nm,z_um\n0,0,0\n1,10,0.01\n", "one for z .* it has z_nm and z_um"),
        ("slice,z_nm,z_nm\n0,0,0\n1,10,12\n", "it has z_nm and z_nm"),
        ("slice,slice no,z_nm\n0,1,0\n1,2,12\n", "it has slice and slice no"),
        ("slice,z_nm\n0,0\n0,10\n", r"strictly increasing; slice 0 \(line 3"),
        ("z_nm\n1_0\n20\n", "has '1_0'"),
        (f"z_nm\n0\n{'1' * 200_000}\n", "line 3 of the z table .* field larger than"),
        (f"z_nm\n0\n{'x' * 1000}\n", "line 3 of .* has 'x{60}…'"),
        ('slice,z_nm\n0,0\n1,"10\n', "line 3 of the z table .* cannot be read"),
    ],
)
def test_read_z_table__what_may_be_misread_is_refused(tmp_path, text, message):
    with pytest.raises((StackReadError, ConventionError), match=message):
        read_z_table(table(tmp_path, text))


def test_read_z_table__thicknesses_that_contradict_depths_are_told(tmp_path):
    read_z_table(table(tmp_path, "z_nm,dz_um\n0,0.01\n10,0.011\n21,0.012\n"))
    with pytest.warns(FibdaskWarning, match="spans 21 nm, the dz_nm beside it adds up to 42 nm"):
        read_z_table(table(tmp_path, "z_nm,dz_nm\n0,20\n10,22\n21,24\n"))


LISTED = ["img_1.tif", "img_10.tif", "img_11.tif", "img_2.tif"]


@pytest.mark.parametrize(
    ("name", "cells", "found"),
    [
        *(
            (name, LISTED, "line 5 of .* has 'img_2.tif' after 'img_11.tif'")
            for name in ("file", "Bild")
        ),
        ("Name", ["img_1", "img_10", "img_2", "img_3"], "'img_2' after 'img_10'"),
        (
            "image",
            [r"D:\gold\s_2.png", r"D:\gold\s_1.png"],
            "s_1.png' after .*: sort the rows by",
        ),
        *((name, [12, 11, 9], "'11' after '12'") for name in ("frame", "index", "image number")),
        ("Bild", ["img_1", "img_10", "img_2"], "'img_2' after 'img_10'"),
        ("", [1, 3, 2], "'2' after '3'"),
        ("Slice #", [3, 2, 1], "slice numbers of a z table must be strictly increasing"),
    ],
)
@pytest.mark.parametrize("value", ["thickness_nm", "z_nm"])
def test_read_z_table__rows_in_another_order_than_slices_are_refused(
    tmp_path, name, cells, found, value
):
    rows = "".join(f"{cell},{10 + k}\n" for k, cell in enumerate(cells))
    with pytest.raises(ConventionError, match=found):
        read_z_table(table(tmp_path, f"{name},{value}\n{rows}"))


def test_read_z_table__files_contradict_slice_numbers(tmp_path):
    text = "slice,file,z_nm\n1,s_2.tif,0\n2,s_1.tif,10\n"
    with pytest.raises(ConventionError, match=r"line 3 of .* has 's_1.tif' after 's_2.tif'"):
        read_z_table(table(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "file,dz_nm\nimg_2.tif,10\nimg_10.tif,11\nimg_11.tif,9\n",
        "file,dz_nm\ngold.tif,10\ngold.tif,11\n",
        "section,dz_nm\ncathode,10\nanode,11\n",
        "frame,dz_nm\n1,10\n1,11\n2,9\n",
        "remaining,dz_nm\n3,10\n2,11\n1,9\n",
        "file,dz_nm\nsample3_a.tif,10\nsample3_b.tif,11\n",
        "path,dz_nm\n/a/s10.tif,10\n/a/s11.tif,11\n/b/s1.tif,9\n",
        "image,dz_nm\ngold.tif:0009,10\ngold.tif:0010,11\n",
        "frame,dz_nm\n1,10\n2,11\n4,9\n",
        ",slice,dz_nm\n2,1,10\n0,2,11\n1,3,9\n",
        "slice,name,dz_nm\n1,top,10\n2,below,11\n",
        "size,dz_nm\n131 px,10\n128 px,11\n129 px,9\n",
        "current,dz_nm\n2e-9,10\n1e-9,11\n3e-9,9\n",
        "time,dz_nm\n2026-01-02T09:58:11,10\n2026-01-02T10:03:20,11\n",
        "grey,dz_nm\n131,10\n128,11\n129,9\n",
    ],
)
def test_read_z_table__other_columns_do_not_matter(tmp_path, text):
    assert read_z_table(table(tmp_path, text)).values[:2].tolist() == [10, 11]


def test_read_images__thicknesses_without_numbers_leave_missing_slices_open(tmp_path):
    write_slices(tmp_path, grey_volume((3, 3, 3)), numbers=[0, 1, 3])
    with pytest.raises(StackReadError, match="needs a column slice, for the slices 2 are missing"):
        read_images(tmp_path, z=table(tmp_path, "dz_nm\n10\n11\n12\n"), **GIVEN)


def test_read_z_table__missing_file_is_named(tmp_path):
    with pytest.raises(StackReadError, match=r"lost\.csv cannot be read"):
        read_z_table(tmp_path / "lost.csv")


def test_read_images__table_is_matched_to_the_numbers_of_files(tmp_path):
    write_slices(tmp_path, grey_volume((3, 3, 3)), numbers=[5, 6, 8])
    path = table(tmp_path, "slice,thickness_nm\n5,10\n6,11\n7,12\n8,13\n")
    with pytest.warns(FibdaskWarning, match="slices 7 are missing"):
        stack = read_images(tmp_path, z=path, **GIVEN)
    np.testing.assert_allclose(stack["z"], [0.0, 10.0, 33.0])
    np.testing.assert_allclose(stack["slice_thickness"], [10.0, 23.0, 13.0])
    assert taken(stack)["z"]["from"] == "column thickness_nm of z.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z_nm\n1\n2\n", "each of 3 slices; it has 2 rows"),
        ("thickness_nm\n1\n2\n3\n4\n", "each of 3 slices; it has 4 rows"),
        ("slice,z_nm\n0,1\n1,2\n", "it has 2 rows, and no row for slice 2"),
        ("slice,z_nm\n0,1\n1,2\n2,3\n3,4\n", "it has 4 rows, and a row for slice 3"),
    ],
)
def test_read_images__table_of_the_wrong_length_is_refused(tmp_path, text, message):
    write_slices(tmp_path, grey_volume((3, 3, 3)))
    with pytest.raises(StackReadError, match=message):
        read_images(tmp_path, z=table(tmp_path, text), **GIVEN)


def test_read_images__thickness_table_that_skips_a_slice_is_refused(tmp_path):
    write_slices(tmp_path, grey_volume((3, 3, 3)), numbers=[0, 1, 3])
    path = table(tmp_path, "slice,thickness_nm\n0,1\n1,2\n3,4\n")
    with pytest.raises(StackReadError, match="skips the slices 2"):
        read_images(tmp_path, z=path, **GIVEN)


def test_read_images__volume_counts_slices_from_any_number(tmp_path):
    np.save(tmp_path / "a.npy", grey_volume((3, 3, 3)))
    path = table(tmp_path, "slice,z_nm\n1,1\n2,3\n3,6\n")
    np.testing.assert_allclose(read_images(tmp_path / "a.npy", z=path, **GIVEN)["z"], [1, 3, 6])


# ── units and thicknesses that cannot be ─────────────────────────────────────────────────────


def read_with(tmp_path, rows, name="thickness_nm"):
    write_slices(tmp_path, grey_volume((len(rows), 3, 3)))
    text = "\n".join([name, *(str(row) for row in rows)])
    return read_images(tmp_path, z=table(tmp_path, text), **GIVEN)


@pytest.mark.parametrize(
    ("name", "rows", "place"),
    [
        ("thickness_nm", [10, 9, 11000, 10, 10], r"slice 2 \(line 4 of .*csv\) is 11000 nm thick"),
        ("z_um", [0, 0.01, 0.02, 10.02, 10.03], r"slice 2 \(line 4 of .*csv\) is 10000 nm thick"),
    ],
)
def test_read_images__thickness_in_another_unit_is_refused_with_its_line(
    tmp_path, name, rows, place
):
    with pytest.raises(ConventionError, match=f"must be in one unit; {place}.*median of 10 nm"):
        read_with(tmp_path, rows, name)


@pytest.mark.parametrize(("factor", "found"), [(1e-3, "0.01 nm"), (1e3, "10000 nm")])
def test_check_steps__unit_that_the_images_contradict_is_refused(tmp_path, factor, found):
    read = read_z_table(table(tmp_path, f"thickness_nm\n{10 * factor}\n{10 * factor}\n"))
    with pytest.raises(ConventionError, match=f"slices of {found} .median., the images say 12 nm"):
        check_steps(read, 12.0)


def test_read_images__slices_too_thick_to_be_milled_are_flagged(tmp_path):
    with pytest.warns(FibdaskWarning, match=r"10000 nm \(median\), far thicker"):
        read_with(tmp_path, [10.0, 9.5, 10.5], "thickness_um")


def test_read_images__many_slices_of_almost_nothing_are_flagged(tmp_path):
    rows = [10, 0.9, 11, 10, 0.2, 10]
    with pytest.warns(FibdaskWarning, match=r"33% of the slices at most 1 nm thick, slice 1 "):
        read_with(tmp_path, rows)


def test_read_images__few_thin_slices_are_accepted(tmp_path):
    stack = read_with(tmp_path, [10] * 11 + [0.9])
    assert stack.sizes["z"] == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": [0.0, 0.01, 0.02]}, r"z gives slices of 0.01 nm \(median\), .* is z in nm"),
        ({"slice_thickness": 0.01}, "slice_thickness gives slices of 0.01 nm"),
        ({"slice_thickness": [10e3] * 3}, "slice_thickness gives slices of 10000 nm"),
    ],
)
def test_read_images__thickness_that_is_not_milled_is_flagged(tmp_path, given, message):
    write_slices(tmp_path, grey_volume((3, 3, 3)))
    with pytest.warns(FibdaskWarning, match=message):
        read_images(tmp_path, **given, **GIVEN)
