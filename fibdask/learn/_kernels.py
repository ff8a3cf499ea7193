"""Compiled loops of samples."""

from ..compiling import compiled


@compiled(nogil=True)
def draw_counts(counts, cumulative, uniform, out):
    """Draw a number for each count, of the distribution of that count.

    Parameters
    ----------
    counts
        Which distribution, uint16 (pixel).
    cumulative
        Probability of a number or a smaller one, float32 (count, number).
    uniform
        Evenly distributed between 0 and 1, float32 (pixel).
    out
        The numbers, float32 (pixel), overwritten.
    """
    for i in range(counts.size):
        row = cumulative[counts[i]]
        low, high = 0, int(counts[i])
        while low < high:
            middle = (low + high) // 2
            if row[middle] < uniform[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low
