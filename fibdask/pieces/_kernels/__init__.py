"""Kernels that several stages share: grey bins, planes of grids, resampling."""
