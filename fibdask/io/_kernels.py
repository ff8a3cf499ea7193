"""Halving of volumes: means and modes of 2 × 2 × 2 voxels."""

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
        coarse[n, z, y, x] = total / count + rounding


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
