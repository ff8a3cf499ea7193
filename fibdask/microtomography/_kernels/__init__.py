"""Compiled loops: fits of thicknesses, and smoothing in the plane."""
