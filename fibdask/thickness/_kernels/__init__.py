"""Kernels of depth: planes, rulers, similarity of images."""
