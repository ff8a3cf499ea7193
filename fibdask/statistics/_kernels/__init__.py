"""Kernels of statistics: lines, surface, connectivity, local thickness."""
