"""Numba on host arrays: columns in parallel threads, kernels that hold no lock."""
