import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda as numba_cuda
from numba import typeof
from numba.cuda.cudadrv import nvvm
from numba.cuda.cudadrv.driver import CudaAPIError

from fibdask import ConventionError, DeviceLostError, FibdaskWarning
from fibdask.pieces.devices import chosen_device
from fibdask.simulate.electrons import cuda, transport
from fibdask.simulate.electrons._kernels import cuda as kernels
from fibdask.simulate.electrons._kernels import transport as _kernels_transport
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.records import Place
from tests.simulate.test_transport import setting, sponge

SIZE = (3.0, 2.0, 2.5)
LABELS = sponge((9, 5, 7))
NO_EXITS = np.empty((0, 7), np.float32)
PART = (slice(1, 4), slice(3, 7))
# The simulator starts a thread of Python for each one of a GPU: as few as there is work for. And
# roots of negative numbers, which are not selected, are no errors on a GPU.
SIMULATED = """
import math, pickle, sys, types
import numpy as np
from fibdask.simulate.electrons import cuda
from fibdask.simulate.electrons._kernels import transport

cuda._FEWEST_BLOCKS = 1
transport.math = types.SimpleNamespace(**vars(math) | {"sqrt": np.sqrt})
labels, size, scenes = pickle.load(open(sys.argv[1], "rb"))
structure = cuda.pack_structure(labels, size, deepest=30)
found = [structure.words.copy_to_host()]
for scene, electrons in scenes:
    counts = np.ones_like(electrons)
    cuda.send_electrons(structure, *scene, electrons, counts, np.empty((0, 7), np.float32))
    found.append(counts)
pickle.dump(found, open(sys.argv[2], "wb"))
"""


def scene(part=(slice(0, 5), slice(0, 7)), pore="epoxy", **illumination):
    """All that a part of an image needs besides the structure, some pixels without electrons."""
    materials = (MATERIALS[pore], MATERIALS["Au"])
    _, *others, place = setting(LABELS, SIZE, materials, **illumination)
    electrons = np.arange(35, dtype=np.int32).reshape(5, 7) % 11 * 3
    y, x = (interval.start for interval in part)
    return (*others, Place(place.key, y, x, y, x)), electrons[part].copy()


def python(*arguments, **environment):
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_processor(scene, electrons):
    structure = transport.pack_structure(LABELS, SIZE, deepest=30)
    counts = np.ones_like(electrons)
    _kernels_transport.send_electrons(structure, *scene, electrons, counts, NO_EXITS)
    return counts


SCENES = {
    "whole": scene(),
    "part": scene(PART),
    "wide and tilted, in vacuum": scene(PART, "vacuum", tilt=50.0, diameter=9.0),
    "discrete losses": scene(PART, losses="discrete"),
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Words of the structure, and counts by scene, of the CUDA simulator without compilation."""
    given, found = (tmp_path_factory.mktemp("cuda") / name for name in ("given", "found"))
    given.write_bytes(pickle.dumps((LABELS, SIZE, list(SCENES.values()))))
    switches = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    # Numbers of NumPy warn where the hash overflows on purpose.
    python("-W", "ignore::RuntimeWarning", "-c", SIMULATED, given, found, **switches)
    words, *counts = pickle.loads(found.read_bytes())
    return words, dict(zip(SCENES, counts, strict=True))


def test_pack_structure__has_the_distances_of_the_processor(simulated):
    expected = transport.pack_structure(LABELS, SIZE, deepest=30).words
    words = simulated[0].view(np.uint8)[: LABELS.size]
    np.testing.assert_array_equal(words, expected.view(np.uint8)[: LABELS.size])


@pytest.mark.parametrize("name", SCENES)
def test_send_electrons__counts_those_of_the_processor(simulated, name):
    counts = simulated[1][name]
    np.testing.assert_array_equal(counts, on_processor(*SCENES[name]))
    assert 0 < (counts - 1).sum() < SCENES[name][1].sum()


def test_send_electrons__counts_in_a_part_as_in_the_whole(simulated):
    np.testing.assert_array_equal(simulated[1]["part"], simulated[1]["whole"][PART])


@pytest.mark.skipif(
    not (find_spec("numba_cuda") and nvvm.is_available()),
    reason="needs the extra gpu: numba-cuda, and NVVM, the compiler of CUDA",
)
@pytest.mark.parametrize("losses", ["continuous", "discrete"])
def test_follow_electrons__compiles_to_32_bits_in_registers(monkeypatch, losses):
    version = SimpleNamespace(compute_capability=(9, 0))  # needs no GPU, but asks for that of one
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: version)
    structure = transport.pack_structure(LABELS, SIZE, deepest=30)
    others, electrons = scene(losses=losses)
    taken = np.zeros(1, np.int64)
    arguments = structure, *others, electrons, 4, taken, np.zeros_like(electrons)
    types = tuple(typeof(argument) for argument in arguments)
    kernel = kernels.follow_electrons.py_func
    code, _ = numba_cuda.compile_ptx(kernel, types, cc=(9, 0), fastmath=True)
    assert "ld.global.f32" in code
    assert not [unit for unit in (".f64", ".local", "call.uni") if unit in code]


def test_cuda_available__is_false_without_a_gpu_and_says_nothing():
    code = "from fibdask.simulate.electrons.cuda import cuda_available; print(cuda_available())"
    assert python("-W", "error", "-c", code, CUDA_VISIBLE_DEVICES="") == "False\n"


@pytest.mark.skipif(cuda.cuda_available(), reason="there is a GPU")
def test_chosen_device__is_the_processor_without_a_gpu():
    assert chosen_device("auto", cuda.cuda_available) == "cpu"
    assert chosen_device("gpu", cuda.cuda_available) == "gpu"  # that of workers


def test_chosen_device__refuses_others():
    with pytest.raises(ConventionError, match="device must be one of auto, cpu, gpu; got 'tpu'"):
        chosen_device("tpu", cuda.cuda_available)


def test_electron_transport__on_a_processor_is_its_own():
    assert cuda.electron_transport("cpu") == (
        transport.pack_structure,
        _kernels_transport.send_electrons,
    )


@pytest.mark.skipif(cuda.cuda_available(), reason="there is a GPU")
def test_electron_transport__refuses_to_stand_in_for_a_gpu():
    with pytest.raises(ConventionError, match=r"this process has none, .* set device to cpu"):
        cuda.electron_transport("gpu")


@pytest.mark.skipif(not cuda.cuda_available(), reason="there is no GPU")
@pytest.mark.filterwarnings("ignore:.*under-utilization")
@pytest.mark.parametrize("name", SCENES)
def test_send_electrons__on_a_gpu_agrees_with_the_processor(name):
    others, electrons = SCENES[name]
    structure = cuda.pack_structure(LABELS, SIZE, deepest=30)
    counts = np.ones_like(electrons)
    cuda.send_electrons(structure, *others, electrons, counts, NO_EXITS)
    expected = on_processor(*SCENES[name])
    assert abs(counts - expected).sum() <= 0.02 * electrons.sum()


def test_out_of_memory__is_followed_by_the_processor(monkeypatch):
    def full(*arguments):
        raise CudaAPIError(2, "out of memory")

    monkeypatch.setattr(cuda, "_pack_words", full)
    monkeypatch.setattr(cuda, "_send", full)
    others, electrons = SCENES["whole"]
    counts = np.ones_like(electrons)
    with pytest.warns(FibdaskWarning, match="made on the processor, and agree with those"):
        structure = cuda.pack_structure(LABELS, SIZE, deepest=30)
    with pytest.warns(FibdaskWarning, match="not bit for bit"):
        cuda.send_electrons(structure, *others, electrons, counts, NO_EXITS)
    np.testing.assert_array_equal(counts, on_processor(*SCENES["whole"]))


def test_send_electrons__records_exits_on_the_processor():
    others, electrons = SCENES["whole"]
    exits = np.zeros((30, 7), np.float32)
    structure = transport.pack_structure(LABELS, SIZE, deepest=30)
    cuda.send_electrons(structure, *others, electrons, np.ones_like(electrons), exits)
    assert exits.any()


def test_device_lost__is_told_from_a_full_memory(monkeypatch):
    def broken(labels):
        raise CudaAPIError(700, "an illegal memory access was encountered")

    monkeypatch.setattr(cuda, "_pack_words", broken)
    with pytest.raises(DeviceLostError, match=r"cannot use it any more: \[700\] an illegal"):
        cuda.pack_structure(LABELS, SIZE, deepest=30)
