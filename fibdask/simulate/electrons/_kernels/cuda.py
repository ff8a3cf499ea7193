"""Compiled for CUDA: transport of electrons, and distances in voxels to another material.

What happens to an electron are the functions of the loop for processors, compiled once more.
Multiplications are fused with additions here, and divisions rounded less exactly: few of the
electrons end otherwise than there, and counts agree within their statistics.
"""

from numba import cuda

from ..records import DISTANCE_BITS, LARGEST_DISTANCE
from .transport import ESCAPED, FLYING, LOST, accepted, event, launch, nobody

SHARE = 8
"""Electrons of one pixel, at most, that a thread takes at once."""
_EVENTS = 6  # until ended electrons are replaced: few threads idle, and few wait for a launch
_ENERGY, _TO_Z, _TO_Y = 0, 7, 8  # places in the tuple of an electron


# Nine arguments: what is written stays apart from the records, which are read alone.
@cuda.jit(fastmath=True)
def follow_electrons(structure, tables, beam, acceptance, place, electrons, shares, taken, counts):
    """Send electrons to all pixels of a part of an image, and count those that come out.

    A thread follows one electron after the other. It takes them from the pixels in turn, so that
    all threads are busy to the end, and neighbours among them read the same voxels.

    Parameters
    ----------
    structure, tables, beam, acceptance, place
        As their classes say.
    electrons
        Numbers of electrons on the pixels, int32 (y, x).
    shares
        Of `SHARE` electrons that each pixel's are divided into; the last ones may be empty.
    taken
        Number of shares that threads have taken, int64 (1,), zero at first.
    counts
        Numbers of electrons that come out and are counted, int32 (y, x), added to.
    """
    columns = counts.shape[1]
    electron, status = nobody(tables), LOST
    y, x, number, end, counted = 0, 0, 0, 0, 0
    while True:
        if status != FLYING:
            if status == ESCAPED and accepted(
                acceptance, beam, electron[_ENERGY], electron[_TO_Z], electron[_TO_Y]
            ):
                counted += 1
            while number >= end:
                if counted > 0:
                    cuda.atomic.add(counts, (y, x), counted)
                    counted = 0
                share = cuda.atomic.add(taken, 0, 1)
                pixel = share // shares
                if pixel >= counts.size:
                    return
                y, x = pixel // columns, pixel % columns
                number = share % shares * SHARE
                end = min(number + SHARE, electrons[y, x])
            electron, status = launch(structure, beam, place, y, x, number), FLYING
            number += 1
        for _ in range(_EVENTS):
            if status == FLYING:
                electron, status = event(structure, tables, electron)


@cuda.jit
def write_labels(labels, out):
    """Write bytes of voxels of which no distance is known yet.

    Parameters
    ----------
    labels
        Material of the voxels, uint8 (voxel).
    out
        Uint8 (voxel), overwritten: the cap of distances + label · 2^`DISTANCE_BITS`.
    """
    for i in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        out[i] = (labels[i] << DISTANCE_BITS) | LARGEST_DISTANCE


@cuda.jit
def lower_distances(near, stride, count, out):
    """Lower distances to another label by what lies along one axis.

    After the axes x, y and z in any order, they are those of the chessboard: of voxels along an
    axis, those of another label are as far as they are away, those of the same one at least as
    far as what their distances along the axes before tell of.

    Parameters
    ----------
    near
        Distances so far + label · 2^`DISTANCE_BITS`, uint8 (voxel).
    stride, count
        Step from a voxel to the next one along the axis, and length of the axis.
    out
        Uint8 (voxel), overwritten.
    """
    for i in range(cuda.grid(1), near.size, cuda.gridsize(1)):
        label, least = near[i] >> DISTANCE_BITS, near[i] & LARGEST_DISTANCE
        place, away = i // stride % count, 1
        while away < least:
            for ahead in (-away, away):
                if 0 <= place + ahead < count:
                    other = near[i + ahead * stride]
                    beside = other & LARGEST_DISTANCE if other >> DISTANCE_BITS == label else 0
                    least = min(least, max(away, beside))
            away += 1
        out[i] = (label << DISTANCE_BITS) | least
