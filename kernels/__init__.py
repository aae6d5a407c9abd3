"""Statistics on arrays: drift between two windows, quality of predictions, resampling.

Backend follows the data: NumPy and CPU torch arrays run on Numba, CuPy and CUDA torch arrays on CUDA C++.
Importable alone; importing it loads NumPy and nothing heavier. Public modules:

    kernels.drift      two-sample statistics, Profile, DriftTable
    kernels.metrics    evaluation metrics under scikit-learn's names
    kernels.resample   bootstrap, permutation, DeLong
    kernels.stream     online detectors, confidence sequences
    kernels.pvalues    null distributions; corrections over many tests
    kernels.errors     the error tree
"""

from __future__ import annotations

__all__: list[str] = []
