"""Halving of volumes: means and modes of 2 × 2 × 2 voxels; and runs of bytes, filled in."""

import numpy as np

from ..compiling import compiled


@compiled(nogil=True)
def halve_mean(fine, coarse, rounding):
    """Average the cells of 2 × 2 × 2 voxels; cells at an odd end are smaller.

    Parameters
    ----------
    fine
        Grey values (n, z, y, x).
    coarse
        Written (n, ⌈z/2⌉, ⌈y/2⌉, ⌈x/2⌉), of the same type.
    rounding
        Added before conversion: 0.5 rounds integers half up, 0 leaves floats.
    """
    _, n_z, n_y, n_x = fine.shape
    for n, z, y, x in np.ndindex(coarse.shape):
        total = 0.0
        count = 0
        for i in range(2 * z, min(2 * z + 2, n_z)):
            for j in range(2 * y, min(2 * y + 2, n_y)):
                for k in range(2 * x, min(2 * x + 2, n_x)):
                    total += fine[n, i, j, k]
                    count += 1
        mean = total / count
        # Numbers below zero are not rounded by being cut off.
        coarse[n, z, y, x] = np.floor(mean + rounding) if rounding > 0 else mean


@compiled(nogil=True)
def halve_mode(fine, coarse):
    """Give cells of 2 × 2 × 2 voxels the label that is most frequent, of several the least.

    Parameters
    ----------
    fine
        Labels (n, z, y, x).
    coarse
        Written (n, ⌈z/2⌉, ⌈y/2⌉, ⌈x/2⌉), of the same type.
    """
    _, n_z, n_y, n_x = fine.shape
    cell = np.empty(8, fine.dtype)
    for n, z, y, x in np.ndindex(coarse.shape):
        count = 0
        for i in range(2 * z, min(2 * z + 2, n_z)):
            for j in range(2 * y, min(2 * y + 2, n_y)):
                for k in range(2 * x, min(2 * x + 2, n_x)):
                    cell[count] = fine[n, i, j, k]
                    count += 1
        coarse[n, z, y, x] = _mode(cell[:count])


@compiled(nogil=True)
def _mode(labels):
    mode, most = labels[0], 0
    for label in labels:
        if label == mode and most:
            continue  # counted already
        same = 0
        for other in labels:
            same += other == label
        if same > most or (same == most and label < mode):
            mode, most = label, same
        if 2 * most > labels.size:
            break  # no other can be as frequent
    return mode


@compiled(nogil=True)
def fill_runs(encoded, values, run):
    """Fill in runs of bytes, as far as there is something to read and room to write.

    A byte below 128 counts how often the next one is repeated; else it counts, by its lower
    seven bits, the bytes that follow as they are.

    Parameters
    ----------
    encoded
        Bytes (n), from the begin of a run or from where the last call ended.
    values
        Written (m).
    run
        State from call to call (2): how many values are left of a run, and the one that is
        repeated, or -1.

    Returns
    -------
    tuple
        Bytes that were used, and values that were written.
    """
    used = 0
    made = 0
    while made < len(values):
        if run[0] > 0 and run[1] >= 0:
            values[made] = run[1]
            made += 1
            run[0] -= 1
        elif run[0] > 0:
            if used == len(encoded):
                break
            values[made] = encoded[used]
            used += 1
            made += 1
            run[0] -= 1
        elif used < len(encoded) and encoded[used] >= 128:
            run[0] = encoded[used] - 128
            run[1] = -1
            used += 1
        elif used + 1 < len(encoded):
            run[0] = encoded[used]
            run[1] = encoded[used + 1]
            used += 2
        else:
            break
    return used, made
