"""Stores that are damaged, linked, foreign or half-written: a sentence, or no effect."""

import json
import os
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from fibdask import (
    ConventionError,
    FibdaskError,
    StackReadError,
    open_stack,
    save_stack,
    segment_phases,
)
from fibdask.blocks import origin
from fibdask.io.metadata import check_store, seal_store
from tests.io.damage import flipped, values_of


@pytest.fixture
def path(stack, tmp_path):
    return save_stack(stack, tmp_path / "s.zarr")


def shards(path, name="phase"):
    return sorted(f for f in (path / name / "c").rglob("*") if f.is_file())


def test_open_stack__a_flipped_bit_is_an_error_or_has_no_effect(path):
    expected, chance = values_of(path), np.random.default_rng(5)
    errors = 0
    for _ in range(150):
        with flipped(path, chance) as place:
            try:
                assert values_of(path).identical(expected), place
            except FibdaskError:
                errors += 1
    assert errors > 100
    assert values_of(path).identical(expected)


def test_open_stack__a_flipped_bit_is_named_with_its_shard(path):
    shard = shards(path)[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 4
    shard.write_bytes(content)
    with pytest.raises(StackReadError, match=f"phase cannot be read at .*{shard}"):
        open_stack(path)["phase"].load()


def test_open_stack__a_shard_that_vanishes_later_is_an_error(path):
    opened = open_stack(path)
    shards(path)[0].unlink()
    with pytest.raises(StackReadError, match=r"was written and is gone.*c/0/0/0"):
        opened["phase"].load()


def test_open_stack__a_lost_shard_of_zeros_is_an_error_too(stack, tmp_path):
    path = save_stack(stack.assign(phase=stack["phase"] * 0), tmp_path / "s.zarr")
    opened = open_stack(path)
    assert not opened["phase"].any()
    shards(path)[0].unlink()
    with pytest.raises(StackReadError, match="was written and is gone"):
        opened["phase"].load()


def test_open_stack__a_shard_of_zeros_is_read_by_zarr_alone(stack, tmp_path):
    path = save_stack(stack.assign(phase=stack["phase"] * 0), tmp_path / "s.zarr")
    assert len(shards(path)) == 4
    plain = xr.open_zarr(path, consolidated=False)["phase"]
    assert plain.shape == stack["phase"].shape
    assert not plain.values.any()


def test_open_stack__metadata_that_were_edited_are_said(path):
    text = (path / "phase" / "zarr.json").read_text()
    (path / "phase" / "zarr.json").write_text(text.replace('"fill_value": 0', '"fill_value": 1'))
    with pytest.raises(StackReadError, match=r"zarr.json is not what was written"):
        open_stack(path)


def test_open_stack__a_volume_whose_metadata_are_no_more_understood_is_missed(path):
    text = (path / "phase" / "zarr.json").read_text()
    (path / "phase" / "zarr.json").write_text(text.replace('"array"', '"arrax"'))
    with pytest.raises(StackReadError, match=r"phase/zarr.json is not what was written"):
        open_stack(path)


def test_open_stack__attributes_that_were_edited_are_said(path):
    zarr.open_group(path, mode="r+").attrs["title"] = "another"
    with pytest.raises(StackReadError, match="remove the attribute checksums"):
        open_stack(path)


def test_check_store__names_what_differs_in_results(tmp_path):
    path = tmp_path / "results.zarr"
    xr.Dataset({"share": ("axis", [0.4, 0.5])}).to_zarr(path, zarr_format=3, consolidated=False)
    seal_store(path)
    check_store(path)
    zarr.open_array(path / "share", mode="r+")[1] = 0.6
    with pytest.raises(StackReadError, match=r"share/c/0 is not what was written"):
        check_store(path)


@pytest.mark.parametrize(
    "content",
    [
        b"[1, 2, 3]\n",
        b"7\n",
        b'{"fingerprint": 3, "shape": "many", "block": 1}\n',
        b'{"fingerprint": "a", "shape": [-1], "block": [1]}\n',
        b"\xff\xfe\x00",
        b"[" * 100_000 + b"\n",
        b"",
    ],
    ids=["list", "number", "types", "negative", "not UTF-8", "deep", "empty"],
)
def test_save_stack__makes_blocks_of_a_damaged_record_anew(stack, path, content):
    (path / "phase" / "array.json").write_bytes(content)
    with pytest.raises(StackReadError, match=r"array.json is damaged"):
        open_stack(path)
    save_stack(stack, path, resume=False)
    assert open_stack(path)["phase"].equals(stack["phase"])


@pytest.mark.parametrize(
    "line",
    [
        '{"block": 99, "bytes": 1, "changed": 1}',
        '{"block": "1", "bytes": 1}',
        "[1]",
        '{"block": true, "bytes": 1, "changed": 1}',
        '{"block": -1, "bytes": 1, "changed": 1}',
    ],
)
def test_open_stack__ignores_a_line_of_the_record_that_means_no_block(stack, path, line):
    with (path / "phase" / "journal" / "1-of-1.jsonl").open("a") as file:
        file.write(line + "\n")
    assert open_stack(path)["phase"].equals(stack["phase"])


def test_save_stack__a_folder_in_place_of_a_record_is_a_sentence(stack, path):
    (path / "phase" / "array.json").unlink()
    (path / "phase" / "array.json").mkdir()
    with pytest.raises(StackReadError, match=r"phase cannot be written: array\.json"):
        save_stack(stack, path, resume=False)


@pytest.mark.parametrize("place", ["phase", "phase/c", "z"])
def test_save_stack__refuses_links_in_its_output(stack, path, tmp_path, place):
    precious = tmp_path / "precious"
    shutil.move(path / place, precious)
    (path / place).symlink_to(precious)
    kept = sorted(precious.rglob("*"))
    with pytest.raises(StackReadError, match=f"{place} is a link"):
        save_stack(stack, path, resume=False)
    assert sorted(precious.rglob("*")) == kept


def test_save_stack__an_output_folder_may_be_a_link(stack, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    path = save_stack(stack, tmp_path / "link" / "s.zarr")
    assert open_stack(path)["phase"].equals(stack["phase"])


def test_open_stack__refuses_codecs_that_run_code(tmp_path):
    store = tmp_path / "foreign.zarr"
    (store / "phase").mkdir(parents=True)
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    array = {
        "zarr_format": 2,
        "shape": [1],
        "chunks": [1],
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle"}],
    }
    (store / "phase" / ".zarray").write_text(json.dumps(array))
    with pytest.raises(StackReadError, match="its codec 'pickle' may run code"):
        open_stack(store)


def test_save_stack__refuses_another_sample_until_told(stack, tmp_path):
    path = save_stack(stack, tmp_path / "s.zarr")
    other = stack.assign(phase=1 - stack["phase"])
    with pytest.raises(ConventionError, match=r"holds phase of unknown origin.*resume=False"):
        save_stack(other, path)
    assert open_stack(path)["phase"].equals(stack["phase"])
    save_stack(other, path, resume=False)
    assert open_stack(path)["phase"].equals(other["phase"])


def test_save_stack__tells_samples_apart_by_what_their_first_step_was_made_of(stack, tmp_path):
    images = stack.drop_vars("phase")
    first = segment_phases(images, method="otsu")
    other = segment_phases(images.assign(intensity=images["intensity"][..., ::-1]), method="otsu")
    path = save_stack(first, tmp_path / "s.zarr")
    with pytest.raises(ConventionError, match=r"of what has the fingerprint .*; this stack is of"):
        save_stack(other, path)
    save_stack(first, path)
    assert open_stack(path)["phase"].equals(first["phase"])


def test_save_stack__with_nothing_to_do_leaves_the_store_whole_when_it_is_killed(path, monkeypatch):
    from fibdask.io import store

    def killed(*arguments):
        raise KeyboardInterrupt

    stack = open_stack(path).load()
    monkeypatch.setattr(store, "_write_volume", killed)
    with pytest.raises(KeyboardInterrupt):
        save_stack(stack, path)
    assert open_stack(path).equals(stack)


def test_save_stack__leaves_no_file_beside_the_store(path):
    assert os.listdir(path.parent) == ["s.zarr"]  # noqa: PTH208


def test_save_stack__keeps_volumes_labels_and_maps_of_any_name(stack, tmp_path):
    rng = np.random.default_rng(2)
    shape = stack["phase"].shape
    stack = stack.assign(
        true_label=(("z", "y", "x"), rng.integers(0, 300, shape, np.int32)),
        heat=(("z", "y", "x"), rng.random(shape)),
        mask=(("z", "y", "x"), rng.random(shape) > 0.5),
        roughness=(("y", "x"), rng.random(shape[1:])),
        dose=("z", rng.random(shape[0])),
    )
    path = save_stack(stack, tmp_path / "s.zarr")
    opened = open_stack(path)
    for name in ("true_label", "heat", "mask"):
        assert zarr.open_array(path / name).shards is not None
        assert origin(opened[name].data) is not None
    xr.testing.assert_identical(stack.drop_attrs().load(), opened.drop_attrs().load())


def test_save_stack__keeps_a_layered_film(tmp_path):
    from fibdask import layered_film

    film = layered_film((4, 32, 32), seed=1)
    opened = open_stack(save_stack(film, tmp_path / "film.zarr"))
    assert opened["material"].attrs["flag_meanings"] == "Au Al Si"
    for name in ("material", "layer_thickness"):
        np.testing.assert_array_equal(opened[name], film[name])
