"""Local thickness of a block: distances to the pores, and the largest balls painted.

Lengths are in finest voxel sizes. Squared distances are float32 sums of squared steps along x,
then y, then z, always in this order; with cubic voxels they are integers, exactly. A ball is the
set of voxels nearer to its centre than its radius: with the distance to the nearest pore as
radius, it is solid throughout.
"""

from functools import lru_cache

import numpy as np

from ...compiling import compiled

Vector = tuple[float, float, float]
Squares = tuple[np.ndarray, np.ndarray, np.ndarray]


@lru_cache(maxsize=8)
def squared_steps(voxel: Vector, reach: float) -> Squares:
    """Return the float32 squares of 0, 1, … steps along z, y, x that are shorter than a reach."""
    limit = np.float32(reach * reach)
    counts = [np.arange(int(reach / size) + 2) for size in voxel]
    squares = [((n * size) ** 2).astype(np.float32) for n, size in zip(counts, voxel, strict=True)]
    z, y, x = (square[square < limit] for square in squares)
    return z, y, x


@lru_cache(maxsize=8)
def cover_limits(voxel: Vector, reach: float) -> np.ndarray:
    """Return what the squared radius of a neighbour must exceed to cover a ball.

    Float32 (2, 2, 2, square): by whether the neighbour is a step away along z, y, x, and by the
    squared radius of the ball, rounded up. The limit is the squared distance from the neighbour
    of the farthest voxel in the ball; rounding, where voxels are no cubes, may make it too large
    but never too small.
    """
    steps = squared_steps(voxel, reach)
    last = int(np.ceil(np.float32(reach * reach)))
    limits = np.zeros((2, 2, 2, last + 1), np.float32)
    away = [
        [(((np.arange(len(step)) + one) * size) ** 2).astype(np.float32) for one in (0, 1)]
        for step, size in zip(steps, voxel, strict=True)
    ]
    for plane in range(len(steps[0])):
        # The first rounded square that a radius can have whose ball holds the voxel.
        first = np.minimum(_sums(plane, *steps).astype(np.int64) + 1, last)
        for offset in np.ndindex(2, 2, 2):
            z, y, x = (along[one] for along, one in zip(away, offset, strict=True))
            np.maximum.at(limits[offset], first, _sums(plane, z, y, x))
    return np.maximum.accumulate(limits, axis=-1)


def cover_bytes(voxel: Vector, reach: float) -> int:
    """Return the bytes that `cover_limits` take while they are made."""
    _, y, x = squared_steps(voxel, reach)
    return 64 * (int(np.ceil(reach * reach)) + 1) + 40 * len(y) * len(x)


def _sums(plane: int, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray((x + y[:, np.newaxis]) + z[plane])


@compiled(nogil=True)
def squared_distances(solid, steps, limit):
    """Return the float32 squared distance to the nearest zero of `solid` (z, y, x).

    `steps` are those of `squared_steps`; distances are at most the float32 `limit`.
    """
    squares = np.empty(solid.shape, np.float32)
    for z in range(solid.shape[0]):
        for y in range(solid.shape[1]):
            _distances_along_row(solid[z, y], steps[2], limit, squares[z, y])
        _least_across_rows(squares[z], steps[1])
    for y in range(solid.shape[1]):
        _least_across_rows(squares[:, y], steps[0])
    return squares


@compiled(nogil=True)
def _distances_along_row(solid, steps, limit, squares):
    """Write the squared distances along one row."""
    n = len(solid)
    count = len(steps)  # as if the nearest pore were out of reach: what is outside is not known
    for x in range(n):
        count = 0 if solid[x] == 0 else count + 1
        squares[x] = steps[count] if count < len(steps) else limit
    count = len(steps)
    for x in range(n - 1, -1, -1):
        count = 0 if solid[x] == 0 else count + 1
        if count < len(steps):
            squares[x] = min(squares[x], steps[count])


@compiled(nogil=True)
def _least_across_rows(squares, steps):
    """Lower squared distances (row, place) to the least over all rows of theirs plus the step.

    Rows a step apart only matter where the step is shorter than what is found already, so the
    search ends after a few; its inner loop runs over neighbours in memory.
    """
    rows = squares.copy()  # rows are lowered in place, and must not lower their neighbours twice
    for i in range(len(rows)):
        least = squares[i]
        for j in range(1, len(steps)):
            step = steps[j]
            if step >= least.max():
                break
            for other in (i - j, i + j):
                if 0 <= other < len(rows):
                    for x in range(len(least)):
                        least[x] = min(least[x], rows[other, x] + step)


@compiled(nogil=True)
def paint_balls(squares, steps, limit, cover, start, painted):
    """Raise float32 `painted` (z, y, x) to the largest squared radius of the balls that hold it.

    Parameters
    ----------
    squares
        Squared radii of the balls around each voxel (z, y, x); those at the float32 `limit` are
        left out.
    steps, cover
        Those of `squared_steps` and `cover_limits`.
    start
        Voxel (z, y, x) of `squares` at which `painted` begins.
    """
    for z in range(squares.shape[0]):
        for y in range(squares.shape[1]):
            for x in range(squares.shape[2]):
                square = squares[z, y, x]
                if square == 0 or square >= limit:
                    continue
                # Most balls lie in a neighbour's, and painting is what takes the time.
                if _is_covered(squares, cover, z, y, x):
                    continue
                _paint(painted, steps, square, z - start[0], y - start[1], x - start[2])


@compiled(nogil=True)
def _is_covered(squares, cover, z, y, x):
    """Tell whether the ball around a voxel lies in one around a neighbour."""
    square = squares[z, y, x]
    rank = int(np.ceil(square))  # the table has whole squares; rounded up, it never says too much
    for k in range(max(z - 1, 0), min(z + 2, squares.shape[0])):
        for j in range(max(y - 1, 0), min(y + 2, squares.shape[1])):
            for i in range(max(x - 1, 0), min(x + 2, squares.shape[2])):
                other = squares[k, j, i]
                if other > square and other > cover[abs(k - z), abs(j - y), abs(i - x), rank]:
                    return True
    return False


@compiled(nogil=True)
def _paint(painted, steps, square, z, y, x):
    """Paint one ball, centred at a voxel that may lie outside."""
    depth, height, width = painted.shape
    along_z, along_y, along_x = steps
    # Octant by octant: a step k, j stands for the planes and rows on either side.
    for k in range(len(along_z)):
        if along_z[k] >= square:
            break
        half = len(along_x) - 1
        for j in range(len(along_y)):
            # Rows only get shorter with j, so that the half width is found by going down.
            while half >= 0 and (along_x[half] + along_y[j]) + along_z[k] >= square:
                half -= 1
            if half < 0:
                break
            first, last = max(x - half, 0), min(x + half + 1, width)
            if first >= last:
                break
            for plane in (z - k, z + k):
                if 0 <= plane < depth:
                    for row in (y - j, y + j):
                        if 0 <= row < height:
                            _raise(painted[plane, row, first:last], square)


@compiled(nogil=True, inline="always")
def _raise(line, least):
    for i in range(len(line)):
        line[i] = max(line[i], least)
