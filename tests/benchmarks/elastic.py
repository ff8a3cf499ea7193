"""Mott cross-sections against published ones: elastic and transport mean free paths.

python tests/benchmarks/elastic.py prints them beside those of two tables, and the deviation of
the transport mean free path from the nearer one, which must stay within 7 % from 500 eV on. Both
are of free or muffin-tin atoms without incoherent scattering, so that is left out here. The table
of NIST has 201 equally probable angles, too few for the rare large ones of light elements: above
5 keV these are compared with the other table alone.
"""

import time

import numpy as np

from fibdask.simulate.electrons.elastic import SHIPPED, compute_elastic_table, mean_free_paths
from fibdask.simulate.electrons.materials import MATERIALS

LIGHT = ("Si", "C", "epoxy", "PMMA")
# Material, energy in eV, then elastic and transport mean free paths in nm: of NIST SRD 64 (2002)
# and of Czyżewski, MacCallum, Romig and Joy, Journal of Applied Physics 68, 3066 (1990).
PUBLISHED = """
Au 200 0.255 1.774 0.212 1.406
Au 500 0.477 1.717 0.380 1.559
Au 1000 0.677 2.442 0.534 2.346
Au 2000 0.925 4.703 0.733 4.605
Au 4000 1.293 10.748 1.034 10.554
Au 5000 1.448 14.366 1.162 14.102
Au 10000 2.090 37.215 1.696 36.463
Au 20000 3.070 99.659 2.533 98.993
Ag 200 0.362 0.944 0.366 1.085
Ag 500 0.568 1.618 0.613 1.745
Ag 1000 0.784 3.246 0.837 3.434
Ag 2000 1.094 7.589 1.164 7.924
Ag 4000 1.581 19.607 1.679 20.345
Ag 5000 1.793 27.039 1.904 27.993
Ag 10000 2.722 75.953 2.888 78.550
Ag 20000 4.253 213.837 4.548 230.245
Cu 200 0.415 0.775 0.426 0.826
Cu 500 0.605 1.589 0.610 1.651
Cu 1000 0.862 3.615 0.857 3.709
Cu 2000 1.251 9.308 1.235 9.474
Cu 4000 1.882 25.948 1.853 26.343
Cu 5000 2.167 36.545 2.132 37.075
Cu 10000 3.462 108.683 3.407 111.199
Cu 20000 5.728 319.767 5.696 348.244
Si 200 0.521 1.753 0.565 1.869
Si 500 0.909 5.563 0.962 5.781
Si 1000 1.454 14.938 1.521 15.351
Si 2000 2.420 43.158 2.506 44.091
Si 4000 4.209 132.002 4.330 135.751
Si 5000 5.077 190.515 5.216 197.180
Si 10000 9.295 593.420 9.527 646.110
Si 20000 17.133 1725.747 17.727 2152.921
C 200 0.477 1.786 0.497 1.889
C 500 0.923 7.213 0.939 7.547
C 1000 1.636 22.671 1.647 23.476
C 2000 3.051 74.651 3.046 76.906
C 4000 5.860 248.502 5.821 261.051
C 5000 7.254 364.423 7.201 388.289
C 10000 14.105 1156.034 14.028 1344.635
C 20000 26.912 3305.984 27.372 4653.348
epoxy 200 0.956 3.431 0.995 3.619
epoxy 500 1.872 13.721 1.895 14.317
epoxy 1000 3.310 42.732 3.314 44.175
epoxy 2000 6.143 139.775 6.100 143.785
epoxy 4000 11.753 464.585 11.616 486.214
epoxy 5000 14.534 681.841 14.358 722.622
epoxy 10000 28.206 2176.781 27.939 2498.952
epoxy 20000 53.764 6293.547 54.594 8650.978
PMMA 200 1.013 3.466 1.055 3.653
PMMA 500 1.977 13.699 1.998 14.281
PMMA 1000 3.474 42.328 3.470 43.733
PMMA 2000 6.409 137.748 6.351 141.582
PMMA 4000 12.215 457.317 12.045 477.250
PMMA 5000 15.093 671.552 14.875 708.807
PMMA 10000 29.236 2153.779 28.892 2447.892
PMMA 20000 55.673 6277.299 56.411 8472.509
"""


def published():
    """Return material, energy and the four lengths of each row."""
    rows = (line.split() for line in PUBLISHED.strip().splitlines())
    return [(name, float(energy), [float(x) for x in rest]) for name, energy, *rest in rows]


def deviation(name, energy, transport, nist, cz):
    """Return the relative deviation from the nearer published value."""
    known = [cz] if name in LIGHT and energy > 5000 else [nist, cz]
    return min((transport / value - 1 for value in known), key=abs)


def main():
    """Print the table."""
    print(f"{'':6s}{'eV':>6s}{'elastic/nm':>12s}{'NIST':>9s}{'Cz.':>9s}", end="")
    print(f"{'transport/nm':>14s}{'NIST':>10s}{'Cz.':>10s}{'off by':>9s}")
    worst = {}
    for name, energy, (nist, nist_tr, cz, cz_tr) in published():
        paths = mean_free_paths(MATERIALS[name], np.array([energy]), incoherent=False)
        elastic, transport = paths[:, 0]
        off = deviation(name, energy, transport, nist_tr, cz_tr)
        print(f"{name:6s}{energy:6.0f}{elastic:12.3f}{nist:9.3f}{cz:9.3f}", end="")
        print(f"{transport:14.3f}{nist_tr:10.3f}{cz_tr:10.3f}{off:+9.1%}")
        if energy >= 500:
            worst[name] = max(worst.get(name, 0.0), off, key=abs)
    print("worst from 500 eV:", ", ".join(f"{name} {off:+.1%}" for name, off in worst.items()))
    start = time.perf_counter()
    for symbol in SHIPPED:
        compute_elastic_table(symbol)
    print(f"{(time.perf_counter() - start) / len(SHIPPED):.2f} s per element to compute a table")


if __name__ == "__main__":
    main()
