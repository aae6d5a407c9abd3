"""The backend follows the arrays; a missing one is an error that says what to install."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from kernels import dispatch, errors
from kernels.errors import BackendUnavailable, DeviceError, KernelError, OptionError


def test_host_arrays_run_on_the_cpu_unless_told_otherwise() -> None:
    x = np.zeros(1)
    assert dispatch.implementation("rank", x).backend == "cpu"
    chosen = dispatch.implementation("rank", x, backend="reference")
    assert chosen.module is importlib.import_module("kernels.reference.rank")


def test_nothing_moves_in_silence() -> None:
    with pytest.raises(DeviceError, match="'cuda' cannot read arrays on cpu - move"):
        dispatch.implementation("rank", np.zeros(1), backend="cuda")
    with pytest.raises(OptionError, match="backend: 'gpu' is not known"):
        dispatch.implementation("rank", np.zeros(1), backend="gpu")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendUnavailable, match=r"needs CuPy.* - pip install cupy-cuda13x"):
        dispatch.load("rank", "cuda")
    monkeypatch.setitem(dispatch.TABLE["rank"], "cpu", "no_such_package.rank")
    with pytest.raises(BackendUnavailable, match=r"needs no_such_package.* - pip install"):
        dispatch.load("rank", "cpu")


def test_every_cell_of_the_table_names_its_primitive() -> None:
    for primitive, row in dispatch.TABLE.items():
        # a user's step runs on the CPU alone: Numba's CUDA target is no longer developed; a stream is read one by one
        absent = {"cuda"} if primitive in ("custom", "stream") else set()
        assert set(row) == set(dispatch.BACKENDS) - absent
        for backend, module in row.items():
            assert module == f"kernels.{backend}.{primitive}"


def test_importing_kernels_loads_nothing_heavy() -> None:
    code = (
        "import sys, kernels, kernels.drift, kernels.pvalues, kernels.stream; "
        "print([m for m in ('numba', 'cupy', 'torch', 'scipy', 'pyarrow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_is_ours_and_a_builtin() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, KernelError)
        assert kind is KernelError or issubclass(kind, ValueError | TypeError | RuntimeError)
