"""Texts of others in messages: one line each, short, and without hidden characters."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask import RecipeError
from fibdask.run.cli.options import say
from fibdask.run.folder.progress import LOGGER, log_file
from fibdask.run.recipe import read_recipe
from fibdask.run.shown import lines, one_line, printable, shown

INPUT = {"input": {"path": "images"}}


@given(st.text())
def test_one_line__is_printable_and_keeps_what_is(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.encode().decode() == line
    assert not any(char < " " or char == "\x7f" for char in line)
    if text.isprintable() and len(text) < 300:
        assert line == text


def test_one_line__shortens_the_middle_and_says_so():
    assert one_line("a" * 5000 + " b") == f"{'a' * 150}… (4775 characters more) …{'a' * 75} b"
    assert len(one_line("a b " * 5000)) < 1000


@given(st.text())
def test_printable__keeps_lines_and_commands_no_terminal(text):
    told = printable(text)
    assert len(told.split("\n")) == len(text.split("\n"))
    assert not any(char < " " or char == "\x7f" for char in told.replace("\n", ""))


def test_say__is_printable(capsys):
    say("a model\x1b[2J\nof others")
    assert capsys.readouterr().out == "a model\\x1b[2J\nof others\n"


def test_lines__keeps_the_lines_of_a_message():
    assert lines("2 blocks failed\nfirst\x1b[31m\r\nsecond") == (
        "2 blocks failed\nfirst\\x1b[31m\\r\nsecond"
    )


@pytest.mark.parametrize("value", ["x" * 5000, list(range(5000)), {"a": "y" * 5000}])
def test_shown__is_short(value):
    assert len(shown(value)) < 200


def test_log_file__a_message_is_a_line_whatever_it_holds(tmp_path):
    with log_file(tmp_path / "log"):
        LOGGER.info("run of %s", "a\n2026-01-01 INFO done\u2028\x1b[2K")
    text = (tmp_path / "log").read_text()
    assert len(text.splitlines()) == 1
    assert text.endswith("run of a\\n2026-01-01 INFO done\\u2028\\x1b[2K\n")
    assert not LOGGER.isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize(
    "recipe",
    [
        INPUT | {"segment": {"method": ["x" * 5000]}},
        INPUT | {"segment": {"x" * 5000: 1}},
        INPUT | {"x" * 5000: {}},
        INPUT | {"segment": "x" * 5000},
        INPUT | {"title": ["x" * 5000]},
        {"input": {"path": "\0" + "x" * 5000}},
        {"input": {"path": "images", "pixel_size": "x" * 5000}},
    ],
)
def test_read_recipe__repeats_long_values_in_short(recipe):
    with pytest.raises(RecipeError) as error:
        read_recipe(recipe)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 9999, "is nested too deep"),
        (b"[input]\ncrop." + b"a." * 3000 + b"a = 1", r"\[input\] crop = .*\.\.\."),
        (b"[input]\nvoltage = " + b"9" * 9999, "is not valid TOML: .* limit"),
        (b"\x93NUMPY\xff\x00", "is not valid TOML: .* codec can't decode"),
    ],
)
def test_read_recipe__what_is_no_recipe_is_told_in_a_sentence(tmp_path, content, message):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize("title", [3, ["a"], {"a": "b"}])
def test_read_recipe__title_is_text(title):
    with pytest.raises(RecipeError, match="title must be a text; got"):
        read_recipe(INPUT | {"title": title})


def test_read_recipe__mark_of_byte_order_is_no_part_of_it(tmp_path):
    (tmp_path / "a.toml").write_text('[input]\npath = "images"\n', encoding="utf-8-sig")
    assert read_recipe(tmp_path / "a.toml").tables["input"]["path"] == str(tmp_path / "images")


@pytest.mark.parametrize("key", ["path", "z"])
@pytest.mark.parametrize("path", ["a\0b", "a\udcff"])
def test_read_recipe__paths_are_text(key, path):
    with pytest.raises(RecipeError, match="a path must be text without zero bytes"):
        read_recipe({"input": {"path": "images", key: path}})


def test_recipe_text__paths_hold_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = read_recipe({"input": {"voltages": {"1": "a", "2": "b"}, "z": "z.csv"}}).text()
    monkeypatch.chdir("/")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "again.toml").write_text(text)
    tables = read_recipe(tmp_path / "sub" / "again.toml").tables
    assert tables["input"]["voltages"] == {"1": str(tmp_path / "a"), "2": str(tmp_path / "b")}
    assert tables["input"]["z"] == str(tmp_path / "z.csv")
    assert tables["output"]["path"] == str(tmp_path / "fibdask-out")
