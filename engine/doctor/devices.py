"""What computes: GPU, its driver, CuPy, the processor under NumPy's sort, and Numba's threads."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from importlib import util
from pathlib import Path

from engine.doctor.finding import Finding, bad, good, warn
from engine.doctor.packages import numbers

DRIVER = Path("/proc/driver/nvidia/version")
OLDEST_DRIVER = 580  # of CUDA 13 (docs.nvidia.com/cuda/cuda-toolkit-release-notes)
CPUINFO = Path("/proc/cpuinfo")
AVX512 = "X86_V4 AVX512_ICL"  # what NumPy 2.4 calls it; its AVX2 sort is what remains
CUPY = "cupy-cuda13x"
LAYERS = ("default", "safe", "forksafe", "threadsafe", "tbb", "omp", "workqueue")
INSTALL = "pip install 'tidegate[gpu]'"


def gpu(version: Callable[[str], str]) -> Finding:
    """Driver, CuPy and torch must fit each other; a machine without a GPU is fit."""
    try:
        text = DRIVER.read_text()
    except OSError:
        return good("GPU", "none: everything runs on the CPU")
    driver = re.search(r"Kernel Module(?: for \S+)?\s+(\d+)(?:\.\d+)*", text)
    said = f"driver {driver[0].split()[-1]}" if driver else "a driver of unknown version"
    if driver and int(driver[1]) < OLDEST_DRIVER:
        return bad("GPU", said, f"install driver {OLDEST_DRIVER} or later: CUDA 13 needs it")
    if util.find_spec("cupy") is None:
        return warn("GPU", f"{said}, but no CuPy", f"{INSTALL} for the CUDA kernels")
    other = [name for name in ("cupy-cuda11x", "cupy-cuda12x") if version(name)]
    if other:
        return bad("GPU", f"{said}, {other[0]} {version(other[0])}", f"pip uninstall {other[0]}, then {INSTALL}")
    cupy = version(CUPY)
    if cupy and numbers(cupy) < (14,):
        return warn("GPU", f"{said}, CuPy {cupy}", f"use CuPy 14 or later: {INSTALL} -U")
    if version("torch").endswith("+cpu"):
        cure = "install torch with CUDA: pip install torch --index-url https://download.pytorch.org/whl/cu130"
        return warn("GPU", f"{said}, but torch {version('torch')} is built without CUDA", cure)
    return good("GPU", f"{said}, CuPy {cupy or 'built from source'}")


def processor() -> Finding:
    """Zen 4 stores compressed AVX-512 vectors in microcode, which makes NumPy's sort some 5 times slower than AVX2.

    See numpy/x86-simd-sort, issue 6. Measured: 1M float32 in 31.7 ms against 6.8 ms.
    """
    try:
        text = CPUINFO.read_text()
    except OSError:
        return good("processor", platform.machine())
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    name = said.get("model name", platform.machine())
    zen4 = (
        said.get("vendor_id") == "AuthenticAMD"
        and said.get("cpu family") == "25"
        and "avx512f" in said.get("flags", "")
    )
    if zen4 and not os.environ.get("NPY_DISABLE_CPU_FEATURES"):
        cure = f"set NPY_DISABLE_CPU_FEATURES='{AVX512}' (NumPy 2.4 or later) before the command"
        return warn("processor", f"{name}, Zen 4: NumPy sorts slowly with AVX-512", cure)
    return good("processor", name)


def numba(version: str) -> Finding:
    """Its threading layer: `workqueue` ends the process where two threads enter it at once."""
    if not version:
        return bad("Numba", "not installed", "pip install numba")
    layer, threads = os.environ.get("NUMBA_THREADING_LAYER", "default"), os.environ.get("NUMBA_NUM_THREADS", "")
    if layer not in LAYERS:
        cure = f"unset NUMBA_THREADING_LAYER, or set it to one of {', '.join(LAYERS)}"
        return bad("Numba", f"{version}, threading layer {layer!r} is unknown", cure)
    if threads and not (threads.isdecimal() and int(threads) > 0):
        return bad("Numba", f"{version}, NUMBA_NUM_THREADS={threads!r}", "unset it, or set a whole number above 0")
    there = _layers()
    if layer in ("tbb", "omp") and layer not in there:
        return bad("Numba", f"{version}, threading layer {layer} is not there", "unset NUMBA_THREADING_LAYER")
    if layer == "workqueue" or (there == ("workqueue",) and layer == "default"):
        cure = "install libgomp (apt-get install libgomp1), and unset NUMBA_THREADING_LAYER"
        return warn("Numba", f"{version}, threading layer workqueue: not safe for threads", cure)
    return good("Numba", f"{version}, {threads or os.cpu_count()} threads, layer {layer} of {' '.join(there)}")


def _layers() -> tuple[str, ...]:
    """The threading layers of the installed Numba, without importing it."""
    spec = util.find_spec("numba")
    folder = Path(spec.origin).parent / "np" / "ufunc" if spec and spec.origin else None
    found = [name for name in ("tbb", "omp", "workqueue") if folder and any(folder.glob(f"{name}*pool.*.so"))]
    if folder and any(folder.glob("workqueue.*.so")) and "workqueue" not in found:
        found.append("workqueue")
    return tuple(found)
