"""identify: another content is another identity, the same file is the same one."""

import os
import shutil

import h5py
import numpy as np
import pytest

from fibdask.blocks import origin
from fibdask.conventions import StackReadError
from fibdask.io.identity import _facts, identify
from fibdask.io.read import read_images
from tests.io.naive import grey_volume, write_slices

GIVEN = {"voltage": 2.0, "pixel_size": 4.0, "slice_thickness": 10.0}
TIME = 1_700_000_000


def dated(path, content):
    """Write a file, with a time of change as archives set it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (TIME, TIME))
    return path


def write_volume(path, volume):
    np.save(path.with_suffix(".npy"), volume)
    return path.with_suffix(".npy")


def token(path, **options):
    return origin(read_images(path, **GIVEN, **options)["intensity"].data).token


def test_identify__file_that_nobody_touched_is_the_same(tmp_path, monkeypatch):
    file = dated(tmp_path / "a" / "s", b"grey")
    first = identify([file])
    monkeypatch.chdir(tmp_path / "a")
    assert identify([file]) == first
    assert identify([file.relative_to(tmp_path / "a")]) == first


def test_identify__same_name_size_and_time_elsewhere_is_another(tmp_path):
    content = [dated(tmp_path / folder / "s", b"grey") for folder in "ab"]
    assert identify(content[:1]) != identify(content[1:])


def test_identify__edit_in_place_with_the_time_kept_is_seen(tmp_path):
    file = dated(tmp_path / "s", bytes(100))
    first = identify([file])
    dated(file, bytes(99) + b"x")
    assert identify([file]) != first


@pytest.mark.parametrize("place", [0, 2**26 - 2048, 2**27 - 1])
def test_facts__content_counts_at_both_ends_and_between(tmp_path, place):
    content = []
    for written in (b"", b"x"):
        with (tmp_path / "s").open("wb") as file:
            file.truncate(2**27)
            file.seek(place)
            file.write(written)
        content.append(_facts(tmp_path / "s")[-1])
    assert content[0] != content[1]


@pytest.mark.parametrize("write", [write_slices, write_volume])
def test_read_images__copy_is_another_source_and_itself_the_same(tmp_path, write):
    path = write(tmp_path / "a", grey_volume((3, 4, 5)))
    copied = path.with_name(f"b{path.suffix}")
    (shutil.copytree if path.is_dir() else shutil.copy2)(path, copied)
    assert token(path) == token(path)
    assert token(copied) != token(path)


def test_read_images__linked_slices_are_those_that_the_link_names(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write_slices(tmp_path / name, grey_volume((2, 4, 5), seed=seed))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a")
    assert token(link) == token(tmp_path / "a")
    link.unlink()
    link.symlink_to(tmp_path / "b")
    assert token(link) == token(tmp_path / "b")


def test_read_images__parts_of_a_virtual_dataset_are_identified_and_missed(tmp_path):
    layout = h5py.VirtualLayout((3, 4, 5), "u1")
    layout[:] = h5py.VirtualSource("part.h5", "vol", (3, 4, 5))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("vol", layout)
    tokens = set()
    for seed in (1, 2):
        with h5py.File(tmp_path / "part.h5", "w") as file:
            file["vol"] = grey_volume((3, 4, 5), seed=seed)
        tokens.add(token(tmp_path / "a.h5"))
    assert len(tokens) == 2
    (tmp_path / "part.h5").unlink()
    with pytest.raises(StackReadError, match=r"a\.h5 .*its pixels lie in .*part\.h5, which is"):
        read_images(tmp_path / "a.h5", **GIVEN)


def test_read_images__external_pixels_found_by_the_working_folder_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("vol", (3, 4, 5), "u1", external=[("raw.bin", 0, 60)])
    with pytest.raises(StackReadError, match=r"its pixels lie in .*raw\.bin, which is absent"):
        read_images(tmp_path / "a.h5", **GIVEN)
