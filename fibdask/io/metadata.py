"""What lies in a store beside its volumes: attributes, coordinates, values of slices and maps.

They are written file by file, each whole or not at all, and sealed with checksums at the end. A
store is marked as ours before anything else, and as unfinished while anything in it changes.
"""

import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr
import zarr
from zarr.storage import MemoryStore

from ..blocks import Place, RemotePath, has_record, put_file, store_of
from ..conventions import (
    VARIABLES,
    VERSION,
    StackReadError,
    array_names,
    is_layered,
    is_regular,
    plain_attributes,
)

AnyPlace = TypeVar("AnyPlace", Path, RemotePath, Place)
UNFINISHED = "unfinished"
WRITER = "fibdask_version"
CHECKSUMS = "checksums"
STORE_ATTRS = ("ome", "z_sampling", UNFINISHED, WRITER, CHECKSUMS)  # of the store, not of the stack
_ROOT = "zarr.json"
_ATTRIBUTES = "attributes"
_CONSOLIDATED = "consolidated_metadata"


def is_store(path: Place) -> bool:
    """Tell whether there is a Zarr group or array, of format 3 or 2, that is no plain image."""
    there = any((path / name).is_file() for name in (_ROOT, ".zgroup", ".zarray"))
    return there and not ome_image(path)


def ome_image(path: Place) -> list[dict[str, Any]]:
    """Return what OME-Zarr tells of the images in a folder, those of a stack of ours aside."""
    images: list[dict[str, Any]] = ome_attributes(path).get("multiscales", [])
    return images


def ome_attributes(path: Place) -> dict[str, Any]:
    """Return the attributes of OME-Zarr in a folder with images that are no stack of ours."""
    for file in ome_files(path):
        try:
            found = json.loads(file.read_bytes())
        except StackReadError:  # of a server that does not answer
            raise
        except (OSError, ValueError, RecursionError):  # said by whoever reads it next
            continue
        attrs = _part(found, "attributes") if file.name == _ROOT else {"ome": found}
        ome = _part(attrs, "ome")
        if isinstance(_part(ome, "multiscales"), list) and WRITER not in attrs:
            return dict(ome)
    return {}


def _part(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else None


def ome_files(path: AnyPlace) -> tuple[AnyPlace, AnyPlace]:
    """Return the files that may describe an image of OME-Zarr: of version 0.5, and of 0.4."""
    return path / _ROOT, path / ".zattrs"


def root_attributes(path: Place) -> dict[str, Any]:
    """Return the attributes of a store, whatever else is in it.

    Raises
    ------
    StackReadError
        If there is no Zarr group.
    """
    try:
        return dict(zarr.open_group(store_of(path), mode="r", use_consolidated=False).attrs)
    except Exception as error:  # zarr raises many kinds for damaged metadata
        msg = f"{path} cannot be read as a Zarr store: {error}"
        raise StackReadError(msg) from error


def begin_store(path: Path) -> None:
    """Mark a store as ours and as unfinished; one that is not there yet appears so marked."""
    if (path / _ROOT).is_file():
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        if UNFINISHED not in group.attrs:
            group.attrs.put({**group.attrs, UNFINISHED: True})
        return
    new = path.with_name(f".{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    zarr.create_group(new, attributes={UNFINISHED: True, WRITER: VERSION})
    new.rename(path)


def small_files(stack: xr.Dataset) -> dict[str, bytes]:
    """Return the files of all variables that are small, by their place in the store."""
    small = stack.drop_vars(array_names(stack)).load().drop_encoding().drop_attrs(deep=False)
    for variable in small.variables.values():
        variable.attrs = plain_attributes(variable.attrs)
    files: dict[str, Any] = {}
    with_storable_texts(small).to_zarr(
        MemoryStore(files), mode="w", zarr_format=3, consolidated=False
    )
    # In order of names: that of variables is the file system's where a stack was opened.
    return {name: files[name].to_bytes() for name in sorted(files)}


def with_storable_texts(results: xr.Dataset) -> xr.Dataset:
    """Return texts of variable length, because fixed ones have no Zarr v3 specification."""
    texts = [name for name, values in results.variables.items() if values.dtype.kind == "U"]
    return results.assign({name: results[name].astype(object) for name in texts})


def is_current(path: Path, files: Mapping[str, bytes], volumes: Iterable[str]) -> bool:
    """Tell whether a store is finished, and holds these files and volumes and nothing else."""
    if not (path / _ROOT).is_file() or root_attributes(path).get(UNFINISHED):
        return False
    kept = _variables(files) | set(volumes)
    return not _dropped(path, kept) and all(
        _content(path / name) == content for name, content in _without_root(files)
    )


def sweep_store(path: Path) -> None:
    """Remove what a killed write of metadata or small variables left behind."""
    for pattern in ("*.partial", "*/*.partial", "*/*/*.partial"):
        for leftover in path.glob(pattern):
            leftover.unlink(missing_ok=True)


def write_files(path: Path, files: Mapping[str, bytes], volumes: Iterable[str]) -> None:
    """Write the small variables, and remove variables that an earlier stack had."""
    for dropped in _dropped(path, _variables(files) | set(volumes)):
        shutil.rmtree(dropped)
    for name in _variables(files):
        _remove_others(path / name, {path / file for file in files})
    for file, content in _without_root(files):
        if _content(path / file) != content:
            put_file(path / file, content)


def _without_root(files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    return [(name, content) for name, content in files.items() if name != _ROOT]


def _variables(files: Mapping[str, bytes]) -> set[str]:
    return {name.split("/")[0] for name, _ in _without_root(files)}


def _dropped(path: Path, kept: set[str]) -> list[Path]:
    """Return the folders of variables that a store shall not hold any more; of ours only."""
    sealed = root_attributes(path).get(CHECKSUMS, {})
    ours = {*VARIABLES, *(str(name).split("/")[0] for name in sealed)}
    return [
        child
        for child in path.iterdir()
        if child.is_dir() and child.name not in kept and (child.name in ours or has_record(child))
    ]


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove the files of a small variable that it has no more."""
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        if file not in kept:
            file.unlink()


def _content(file: Place) -> bytes | None:
    try:
        return file.read_bytes()
    except StackReadError:  # of a server that does not answer
        raise
    except OSError:
        return None


def finish_store(
    path: Path, stack: xr.Dataset, files: Mapping[str, bytes], ome: Mapping[str, Any] | None
) -> None:
    """Give a store its final attributes, with checksums of all that is not in shards."""
    of_stack = {key: value for key, value in stack.attrs.items() if key not in STORE_ATTRS}
    attrs = plain_attributes(of_stack)
    # Names of coordinates without a dimension, as xarray wrote them.
    attrs |= json.loads(files[_ROOT])["attributes"]
    if ome:
        attrs["ome"] = dict(ome)
    if not is_layered(stack):
        attrs["z_sampling"] = "regular" if is_regular(stack) else "variable"
    arrays = array_names(stack)
    if coordinates := [name for name in arrays if name in stack.coords]:
        attrs["coordinates"] = " ".join([*attrs.get("coordinates", "").split(), *coordinates])
    # Chunks of arrays have checksums of their own.
    sealed = [*(name for name, _ in _without_root(files)), *(f"{name}/{_ROOT}" for name in arrays)]
    _seal(path, attrs | {WRITER: VERSION}, sealed)


def seal_store(path: Path) -> None:
    """Add checksums to a store of small variables only."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    names = [str(file.relative_to(path)) for file in files if file != path / _ROOT]
    _seal(path, root_attributes(path), names)


def _seal(path: Path, attrs: dict[str, Any], names: Iterable[str]) -> None:
    checksums = {name: _checksum(path / name) for name in names}
    attrs[CHECKSUMS] = checksums | {_ATTRIBUTES: _attributes_checksum(attrs)}
    group = {"zarr_format": 3, "node_type": "group", _ATTRIBUTES: attrs}
    # Where xarray and others look first; what is unfinished has none.
    members = {"kind": "inline", "must_understand": False, "metadata": dict(_members(path))}
    content = json.dumps(group | {_CONSOLIDATED: members}, indent=2).encode()
    if _content(path / _ROOT) != content:
        put_file(path / _ROOT, content)


def _members(path: Path, within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over the names and the metadata of all arrays and groups in a group."""
    for file in sorted((path / within).glob(f"*/{_ROOT}")):
        name = file.parent.relative_to(path).as_posix()
        member = json.loads(file.read_bytes())
        yield name, {key: value for key, value in member.items() if key != _CONSOLIDATED}
        if member["node_type"] == "group":
            yield from _members(path, name)


def _checksum(file: Place) -> int:
    return zlib.crc32(_content(file) or b"")


def check_store(path: Place) -> None:
    """Check that a store is finished, and that all beside its shards is what was written.

    Raises
    ------
    StackReadError
        Naming what differs.
    """
    attrs = root_attributes(path)
    if attrs.get(UNFINISHED):
        msg = f"{path} is incomplete: its writing was interrupted; run again to finish it"
        raise StackReadError(msg)
    sealed = attrs.get(CHECKSUMS, {})
    if not sealed:
        return
    found = {name: _checksum(path / name) for name in sealed}
    found[_ATTRIBUTES] = _attributes_checksum(attrs)
    for name, checksum in found.items():
        if checksum != sealed.get(name):
            place = path / (_ROOT if name == _ATTRIBUTES else name)
            msg = (
                f"{place} is not what was written: it is damaged, was edited (then remove the "
                f"attribute {CHECKSUMS} of {path / _ROOT}), or was written by to_zarr of xarray "
                "(then save what xarray.open_zarr opens there by save_stack)"
            )
            raise StackReadError(msg)


def _attributes_checksum(attrs: Mapping[str, Any]) -> int:
    others = {key: value for key, value in attrs.items() if key != CHECKSUMS}
    return zlib.crc32(json.dumps(others, sort_keys=True).encode())
