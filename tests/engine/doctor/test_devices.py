"""GPU, driver, CuPy, torch, and Numba's threads: each planted fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.doctor import State, devices
from tests.engine.doctor.conftest import Examined

TEXT = "NVRM version: NVIDIA UNIX {open} Kernel Module{arch}  {driver}  Release Build  (dvs-builder)\nGCC version: 12\n"


@pytest.mark.parametrize(
    ("driver", "versions", "cupy", "state", "said", "cure"),
    [
        ("", {}, False, State.GOOD, "none: everything runs on the CPU", ""),
        ("580.65.06", {}, False, State.WARN, "driver 580.65.06, but no CuPy", "tidegate[gpu]"),
        ("570.124.06", {"cupy_cuda13x": "14.0.1"}, True, State.BAD, "driver 570.124.06", "driver 580 or later"),
        ("590.10", {"cupy_cuda12x": "13.4"}, True, State.BAD, "cupy-cuda12x 13.4", "pip uninstall cupy-cuda12x"),
        ("590.10", {"cupy_cuda13x": "13.6"}, True, State.WARN, "CuPy 13.6", "CuPy 14 or later"),
        ("590.10", {"cupy_cuda13x": "14.0.1"}, True, State.WARN, "2.13.0+cpu is built without CUDA", "install torch"),
        ("590.10", {"cupy_cuda13x": "14.0.1", "torch": "2.13.0+cu130"}, True, State.GOOD, "CuPy 14.0.1", ""),
        ("590.10", {"torch": "2.13.0"}, True, State.GOOD, "driver 590.10, CuPy built from source", ""),
        ("odd", {"torch": "2.13.0"}, True, State.GOOD, "a driver of unknown version", ""),
    ],
)
def test_gpu(
    tmp_path: Path,
    examined: Examined,
    monkeypatch: pytest.MonkeyPatch,
    driver: str,
    versions: dict[str, str],
    cupy: bool,
    state: State,
    said: str,
    cure: str,
) -> None:
    if driver:
        path = tmp_path / "version"
        path.write_text(TEXT.format(open="Open", arch=" for x86_64", driver=driver))
        monkeypatch.setattr(devices, "DRIVER", path)
    monkeypatch.setattr(devices.util, "find_spec", lambda _: object() if cupy else None)
    found = examined(tmp_path, **versions)["GPU"]
    assert found.state is state, found
    assert said in found.found
    assert cure in found.cure


def test_both_kinds_of_driver_tell_their_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    for words in ({"open": "x86_64", "arch": ""}, {"open": "Open", "arch": " for x86_64"}):
        devices.DRIVER.write_text(TEXT.format(driver="535.54.03", **words))
        assert devices.gpu(lambda _: "").found == "driver 535.54.03"


@pytest.mark.parametrize(
    ("setting", "there", "state", "cure"),
    [
        ({}, ("omp", "workqueue"), State.GOOD, ""),
        ({}, ("workqueue",), State.WARN, "libgomp"),
        ({"NUMBA_THREADING_LAYER": "workqueue"}, ("omp", "workqueue"), State.WARN, "unset NUMBA_THREADING_LAYER"),
        ({"NUMBA_THREADING_LAYER": "opm"}, ("omp",), State.BAD, "one of default, safe"),
        ({"NUMBA_THREADING_LAYER": "tbb"}, ("omp", "workqueue"), State.BAD, "unset NUMBA_THREADING_LAYER"),
        ({"NUMBA_NUM_THREADS": "many"}, ("omp",), State.BAD, "whole number above 0"),
        ({"NUMBA_NUM_THREADS": "0"}, ("omp",), State.BAD, "whole number above 0"),
        ({"NUMBA_NUM_THREADS": "3"}, ("omp",), State.GOOD, ""),
    ],
)
def test_numba(
    tmp_path: Path,
    examined: Examined,
    monkeypatch: pytest.MonkeyPatch,
    setting: dict[str, str],
    there: tuple[str, ...],
    state: State,
    cure: str,
) -> None:
    monkeypatch.setattr(devices, "_layers", lambda: there)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    found = examined(tmp_path)["Numba"]
    assert found.state is state, found
    assert cure in found.cure


def test_the_layers_of_the_installed_numba_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert "workqueue" in devices._layers()


@pytest.mark.parametrize(
    ("vendor", "family", "flags", "disabled", "state"),
    [
        ("AuthenticAMD", "25", "avx2 avx512f", "", State.WARN),
        ("AuthenticAMD", "25", "avx2 avx512f", "X86_V4 AVX512_ICL", State.GOOD),
        ("AuthenticAMD", "25", "avx2", "", State.GOOD),  # Zen 3
        ("AuthenticAMD", "26", "avx2 avx512f", "", State.GOOD),  # Zen 5
        ("GenuineIntel", "6", "avx2 avx512f", "", State.GOOD),
    ],
)
def test_processors_that_sort_slowly_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, family: str, flags: str, disabled: str, state: State
) -> None:
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    one = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel name\t: Some CPU\nflags\t\t: {flags}\n"
    devices.CPUINFO.write_text(f"{one}\n{one}")
    if disabled:
        monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", disabled)
    found = devices.processor()
    assert found.state is state
    assert found.found.startswith("Some CPU")
    assert ("NPY_DISABLE_CPU_FEATURES='X86_V4 AVX512_ICL'" in found.cure) is (state is State.WARN)
