"""Kernels that several stages share: grey bins, resampling."""
