"""Stacks on servers: read, copied there, and what happens when the line breaks."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zarr

import fibdask
from fibdask.blocks import origin
from fibdask.blocks.engine import places, remote
from fibdask.conventions import ConventionError, StackReadError
from fibdask.run.copying import copy_store
from tests.servers import BUCKET, SECRET, Line, file_server

pytestmark = [
    pytest.mark.usefixtures("credentials"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets that are cut
]


@pytest.fixture
def store(stack, tmp_path):
    return fibdask.save_stack(stack, tmp_path / "gold.zarr")


@pytest.fixture
def address(store, endpoint, request):
    """The address of a store of S3."""
    place = f"s3://{BUCKET}/{request.node.name[:60]}/gold.zarr"
    return copy_store(str(store), place, remote={"endpoint": endpoint})


@pytest.fixture
def line(endpoint):
    line = Line(endpoint)
    yield line
    line.close()


def test_open_stack__of_s3_equals_that_of_the_folder(store, address, endpoint):
    opened = fibdask.open_stack(address, remote={"endpoint": endpoint})
    assert opened.compute().identical(fibdask.open_stack(store).compute())


def test_open_stack__of_s3_by_the_environment(store, address, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert fibdask.open_stack(address).sizes == fibdask.open_stack(store).sizes


def test_open_stack__parts_of_shards_are_read(store, address, endpoint):
    part = {"z": slice(2, 5), "x": slice(3, 40)}
    expected = fibdask.open_stack(store).isel(part).compute()
    opened = fibdask.open_stack(address, remote={"endpoint": endpoint})
    assert opened.isel(part).compute().identical(expected)
    with file_server(store.parent) as files:
        opened = fibdask.open_stack(f"{files}/gold.zarr")
        assert opened.isel(part).compute().identical(expected)


def test_open_stack__a_dropped_answer_is_asked_for_again(address, store, line):
    asked = Counter()

    def first_time(request):
        asked[request] += 1
        return 300 if asked[request] == 1 and "/c/" in request else None

    line.breaks = first_time
    opened = fibdask.open_stack(address, remote={"endpoint": line.endpoint})
    assert opened.compute().identical(fibdask.open_stack(store).compute())
    assert line.broken > 3


def test_open_stack__a_line_that_stays_broken_is_named(address, line):
    opened = fibdask.open_stack(address, remote={"endpoint": line.endpoint})
    line.breaks = lambda request: 0 if "/phase/c/" in request else None
    with pytest.raises(StackReadError, match=rf"{address}/phase/c/0/0/0 cannot be read \(3 tries"):
        opened["phase"][:1, :3, :3].compute()


def test_open_stack__a_server_that_is_not_there_is_named(address):
    with pytest.raises(StackReadError, match=r"zarr.json cannot be read \(3 tries in 0 s\): .*:9/"):
        fibdask.open_stack(address, remote={"endpoint": "http://127.0.0.1:9"})


def test_open_stack__a_lost_shard_is_no_pore(address, endpoint, stack):
    bucket = remote.client(f"s3://{BUCKET}", remote.Access(endpoint=endpoint))
    place = address.removeprefix(f"s3://{BUCKET}/")
    bucket.delete(f"{place}/phase/c/0/0/0")
    with pytest.raises(StackReadError, match="phase is incomplete: 3 of 4 blocks are there"):
        fibdask.open_stack(address, remote={"endpoint": endpoint})


def test_open_stack__of_nothing_says_so(endpoint):
    with pytest.raises(StackReadError, match=f"s3://{BUCKET}/none is no store of a stack"):
        fibdask.open_stack(f"s3://{BUCKET}/none", remote={"endpoint": endpoint})


def test_open_stack__what_is_replaced_on_the_server_has_another_fingerprint(store, endpoint, stack):
    place, options = f"s3://{BUCKET}/replaced.zarr", {"endpoint": endpoint}
    copy_store(str(store), place, remote=options)

    def token():
        return origin(fibdask.open_stack(place, remote=options)["phase"].data).token

    first = token()
    assert token() == first
    bucket = remote.client(f"s3://{BUCKET}", remote.Access(endpoint=endpoint))
    shards = [f"replaced.zarr/phase/c/0/0/{n}" for n in (0, 1)]
    contents = [bytes(bucket.get(shard).bytes()) for shard in shards]
    bucket.put(shards[0], contents[1])
    assert token() != first


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ftp://host/gold.zarr", "an address is s3://"),
        ("s3://", "an address is s3://"),
        ("https://me:secret@host/gold.zarr", r"must not hold .* \(https://host/gold.zarr\)"),
        ("https://host/gold.zarr?X-Amz-Signature=secret", "must not hold"),
        ("http://192.0.2.1/gold.zarr", "is not encrypted"),
    ],
)
def test_open_stack__addresses_that_are_refused(address, told):
    with pytest.raises(ConventionError, match=told) as error:
        fibdask.open_stack(address)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        ({"endpiont": "x"}, "did you mean 'endpoint'"),
        ({"anonymous": "yes"}, "anonymous must be true or false; got 'yes'"),
        ({"endpoint": "http://192.0.2.1:9000"}, "http://192.0.2.1:9000 is not encrypted"),
    ],
)
def test_open_stack__options_that_are_refused(remote, told):
    with pytest.raises(ConventionError, match=told):
        fibdask.open_stack(f"s3://{BUCKET}/gold.zarr", remote=remote)


def test_open_stack__options_of_a_server_are_refused_for_a_folder(store):
    with pytest.raises(ConventionError, match="remote is of addresses"):
        fibdask.open_stack(store, remote={"region": "eu-west-1"})


def test_save_stack__to_a_server_names_the_command_that_copies(stack):
    with pytest.raises(ConventionError, match="fibdask copy"):
        fibdask.save_stack(stack, f"s3://{BUCKET}/new.zarr")


def test_copy_store__interrupted_is_no_store_and_goes_on(store, endpoint, line):
    place = f"s3://{BUCKET}/interrupted.zarr"
    line.breaks = lambda request: 0 if "PUT" in request and "/phase/c/0/1" in request else None
    with pytest.raises(StackReadError, match=r"phase/c/0/1/\d cannot be written"):
        copy_store(str(store), place, remote={"endpoint": line.endpoint})
    with pytest.raises(StackReadError, match="is no store"):
        fibdask.open_stack(place, remote={"endpoint": endpoint})
    asked = []
    line.breaks = asked.append
    copy_store(str(store), place, remote={"endpoint": line.endpoint})
    assert not [request for request in asked if "PUT" in request and "/intensity/c/" in request]
    opened = fibdask.open_stack(place, remote={"endpoint": endpoint})
    assert opened.compute().identical(fibdask.open_stack(store).compute())


def test_copy_store__leaves_what_others_put_there(store, address, endpoint, stack, tmp_path):
    other = fibdask.save_stack(stack.isel(z=slice(3)), tmp_path / "other.zarr")
    with pytest.raises(StackReadError, match="holds something else"):
        copy_store(str(other), address, remote={"endpoint": endpoint})


def test_copy_store__there_and_back_is_the_same(store, address, endpoint, tmp_path):
    back = copy_store(address, str(tmp_path / "back.zarr"), remote={"endpoint": endpoint})
    shards = [file.relative_to(store) for file in store.glob("*/c/**/*") if file.is_file()]
    assert all((store / file).read_bytes() == Path(back, file).read_bytes() for file in shards)
    assert fibdask.open_stack(back).compute().identical(fibdask.open_stack(store).compute())


def test_credentials__stay_out_of_copies_of_a_stack(address, endpoint):
    import cloudpickle

    opened = fibdask.open_stack(address, remote={"endpoint": endpoint})
    assert SECRET.encode() not in cloudpickle.dumps(opened)
    place = places.RemotePath(address, remote.Access())
    assert SECRET.encode() not in cloudpickle.dumps(places.store_of(place))
    assert SECRET not in json.dumps(opened.attrs)


def write_ome_zarr(folder, zarr_format):
    """Write an image of OME-Zarr, and return its voxels."""
    voxels = np.random.default_rng(3).integers(0, 256, (5, 40, 36), dtype=np.uint8)
    scale = [{"type": "scale", "scale": [10.0, 4.0, 4.0]}]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    if zarr_format == 2:
        attributes = {"multiscales": [images[0] | {"version": "0.4"}]}
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": images}}
    group = zarr.create_group(folder, zarr_format=zarr_format, attributes=attributes)
    array = group.create_array("0", shape=voxels.shape, dtype="u1", chunks=(2, 16, 16))
    array[...] = voxels
    return voxels


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_read_images__of_ome_zarr_on_servers(endpoint, tmp_path, zarr_format):
    voxels = write_ome_zarr(tmp_path / "image.zarr", zarr_format)
    bucket = remote.client(f"s3://{BUCKET}", remote.Access(endpoint=endpoint))
    for file in tmp_path.rglob("*"):
        if file.is_file():
            bucket.put(f"ome{zarr_format}/{file.relative_to(tmp_path)}", file.read_bytes())
    address, options = f"s3://{BUCKET}/ome{zarr_format}/image.zarr", {"endpoint": endpoint}
    opened = fibdask.read_images(address, voltage=2, remote=options)
    assert (opened["intensity"].values[0] == voxels).all()
    assert opened["z"].values.tolist() == [0, 10, 20, 30, 40]
    assert opened["intensity"][:, 1:4, 3:20].values.tolist() == [voxels[1:4, 3:20].tolist()]
    with file_server(tmp_path) as files:
        opened = fibdask.read_images(f"{files}/image.zarr", voltage=2)
        assert (opened["intensity"].values[0] == voxels).all()
    tokens = [origin(opened["intensity"].data).token]
    bucket.put(f"ome{zarr_format}/image.zarr/0/{'0.0.0' if zarr_format == 2 else 'c/0/0/0'}", b"")
    opened = fibdask.read_images(address, voltage=2, remote=options)
    assert origin(opened["intensity"].data).token not in tokens


def test_read_images__of_other_images_on_servers_says_what_to_do(endpoint):
    with pytest.raises(StackReadError, match="others are not read from servers: download them"):
        fibdask.read_images(f"s3://{BUCKET}/slices", remote={"endpoint": endpoint})


def test_open_stack__without_the_extra_names_it():
    code = (
        "import sys, fibdask.run.cli, fibdask.io\n"
        "from fibdask.conventions import ConventionError\n"
        "assert 'obstore' not in sys.modules\n"
        "sys.modules['obstore'] = sys.modules['obstore.store'] = None\n"
        "try: fibdask.io.open_stack('s3://bucket/gold.zarr')\n"
        "except ConventionError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout.strip() == (
        's3://bucket is on a server, which needs the extra: pip install "fibdask[remote]"'
    ), told.stderr
