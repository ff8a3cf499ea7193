"""Kernels of electrons: transport, distances to other materials, elastic scattering."""
