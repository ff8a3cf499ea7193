"""Kernels of alignment: registration, curtaining, brightness."""
