"""Transport of electrons on a GPU: agreement with the processor, and speed.

The structure is hierarchical gold in epoxy in voxels of 2.5 nm, 512 × 512 pixels. Without a GPU
only the agreement is looked at, by the tests in the simulator of CUDA.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from fibdask.pieces.devices import chosen_device
from fibdask.simulate import hierarchical_levelled_wave
from fibdask.simulate.electrons import transport
from fibdask.simulate.electrons._kernels import transport as _kernels_transport
from fibdask.simulate.electrons._kernels.transport import FLYING, draw_electrons, event, launch
from fibdask.simulate.electrons.cuda import cuda_available, electron_transport
from fibdask.simulate.electrons.materials import MATERIALS
from fibdask.simulate.electrons.records import LARGEST_DISTANCE, Acceptance, Place
from fibdask.simulate.electrons.transport import Illumination

VOXEL = (2.5, 2.5, 2.5)
PIXELS, SLICES, MEAN = 512, 512, 100.0
MATERIALS_HERE = (MATERIALS["epoxy"], MATERIALS["Au"])
EVERYTHING = Acceptance(np.float32(0), np.float32(-1))
NO_EXITS = np.empty((0, 7), np.float32)
THREADS = 4  # that prepare slices while the GPU is at work on others
TARGET = 20.0  # seconds for all slices at 2 kV
# Instructions of an event by disassembly for compute capability 9.0, of the lanes of an H200.
LIMIT = 132 * 4 * 32 * 1.98e9 / 345


class Slices:
    """Slices of a volume at a voltage in kV, one after the other."""

    def __init__(self, labels: np.ndarray, kilovolts: float) -> None:
        illumination = Illumination(1e3 * kilovolts)
        self.labels = labels
        self.deepest = int(np.ceil(illumination.reach(MATERIALS_HERE) / 2 / VOXEL[0])) + 1
        self.tables = illumination.tables(MATERIALS_HERE)
        self.beam = illumination.beam(VOXEL)

    def pack(self, number: int, pack_structure):
        first = number % (len(self.labels) - self.deepest - LARGEST_DISTANCE)
        below = self.labels[first : first + self.deepest + LARGEST_DISTANCE]
        return pack_structure(below, VOXEL, deepest=self.deepest)

    def draw(self, number: int, mean: float) -> tuple[Place, np.ndarray]:
        place = Place(np.uint64(number), 0, 0, 0, 0)
        electrons = np.empty(self.labels.shape[1:], np.int32)
        draw_electrons(place, mean, electrons)
        return place, electrons

    def send(self, structure, place: Place, electrons: np.ndarray, send_electrons) -> np.ndarray:
        counts = np.zeros_like(electrons)
        scene = structure, self.tables, self.beam, EVERYTHING, place
        send_electrons(*scene, electrons, counts, NO_EXITS)
        return counts

    def image(self, number: int) -> int:
        """Return the number of electrons of a slice, made by the GPU."""
        on = electron_transport(chosen_device("auto", cuda_available))
        place, electrons = self.draw(number, MEAN)
        self.send(self.pack(number, on.pack_structure), place, electrons, on.send_electrons)
        return int(electrons.sum())


@njit
def events_of_an_electron(structure, tables, beam, place, step):
    """Return the mean number of events, over one electron on every few pixels."""
    events, electrons = 0, 0
    for y in range(0, structure.rows, step):
        for x in range(0, structure.columns, step):
            electron, status = launch(structure, beam, place, y, x, 0), FLYING
            while status == FLYING:
                electron, status = event(structure, tables, electron)
                events += 1
            electrons += 1
    return events / electrons


def volume() -> np.ndarray:
    """Return labels of 200 planes, mirrored in the plane from a smaller part."""
    part = hierarchical_levelled_wave(
        (200, PIXELS // 2, PIXELS // 2),
        voxel_size=2.5,
        ligament_size=(110, 15),
        solid_fraction=(0.35, 0.35),
        seed=1,
    ).values.astype(np.uint8)
    half = np.concatenate([part, part[:, ::-1]], axis=1)
    return np.concatenate([half, half[:, :, ::-1]], axis=2)


def compare(slices: Slices) -> None:
    """Print how far the counts of the GPU are from those of the processor."""
    on = electron_transport(chosen_device("auto", cuda_available))
    structure, packed = slices.pack(0, transport.pack_structure), slices.pack(0, on.pack_structure)
    size = int(structure.planes) * PIXELS**2
    same = np.array_equal(
        packed.words.copy_to_host().view(np.uint8)[:size], structure.words.view(np.uint8)[:size]
    )
    place, electrons = slices.draw(0, 20.0)
    expected = slices.send(structure, place, electrons, _kernels_transport.send_electrons)
    counts = slices.send(packed, place, electrons, on.send_electrons)
    again = slices.send(packed, place, electrons, on.send_electrons)
    sigmas = (counts.sum() - expected.sum()) / np.sqrt(expected.sum())
    print(f"  distances equal: {same}; repeated counts equal: {np.array_equal(counts, again)}")
    print(f"  mean of counts: {sigmas:+.3f} standard deviations of one image from the processor's")
    print(
        f"  pixels that differ: {(counts != expected).mean():.2%}, at {electrons.mean():.1f} e/px"
    )


def stages(slices: Slices) -> None:
    """Print the times of the stages of a slice, and rates."""
    from numba import cuda

    on = electron_transport(chosen_device("auto", cuda_available))
    best = np.full(3, np.inf)
    for number in range(4):
        times = [time.perf_counter()]
        place, electrons = slices.draw(number, MEAN)
        times.append(time.perf_counter())
        structure = slices.pack(number, on.pack_structure)
        cuda.synchronize()
        times.append(time.perf_counter())
        slices.send(structure, place, electrons, on.send_electrons)
        times.append(time.perf_counter())
        best = np.minimum(best, np.diff(times))
    host = slices.pack(0, transport.pack_structure)
    events = events_of_an_electron(host, slices.tables, slices.beam, place, 4)
    rate = electrons.sum() / best[2]
    print("  draw, pack, send:", ", ".join(f"{1e3 * seconds:.1f} ms" for seconds in best))
    print(f"  {rate / 1e6:.0f} million electrons/s, {events:.1f} events each:", end=" ")
    print(f"{rate * events:.2e} events/s, {rate * events / LIMIT:.0%} of an H200's limit")
    print(f"  {SLICES} slices: {SLICES * best[1:].sum():.1f} s on the GPU alone, extrapolated")


def whole(slices: Slices) -> None:
    """Print the time of all slices, prepared by a few threads."""
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        electrons = sum(threads.map(slices.image, range(SLICES)))
    seconds = time.perf_counter() - started
    print(
        f"{SLICES} slices of {PIXELS}² at {MEAN:g} electrons/pixel, 2 kV: {seconds:.1f} s", end=" "
    )
    print(f"(target {TARGET:g} s), {electrons / seconds / 1e6:.0f} million electrons/s")


def main() -> None:
    """Print agreement and speed at 1, 2 and 4 kV."""
    if not cuda_available():
        print("no GPU here: agreement in the simulator of CUDA only, no speed")
        tests = [sys.executable, "-m", "pytest", "-q", "tests/simulate/test_cuda.py"]
        sys.exit(subprocess.run(tests, check=False).returncode)
    labels = volume()
    for kilovolts in (1.0, 2.0, 4.0):
        print(f"{kilovolts:g} kV")
        slices = Slices(labels, kilovolts)
        compare(slices)
        stages(slices)
    whole(Slices(labels, 2.0))


if __name__ == "__main__":
    main()
