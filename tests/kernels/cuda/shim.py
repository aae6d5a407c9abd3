"""Build a .cu file as a host library over shim.hpp, and launch its kernels on NumPy arrays.

    library = shim.build("rank")                      # kernels/cuda/rank.cu
    library.launch("rank_tiles_f32", grid=(4, 1), block=128, args=(array, np.int64(3), ...), seed=7)

Arrays go as pointers and must be contiguous; NumPy scalars go by value and must have the type of the parameter.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SOURCES = Path(__file__).parents[3] / "kernels" / "cuda"
KEPT = HERE / "__pycache__"  # libraries by the hash of all that they are made of: other processes and runs take them
_FLAGS = ("-std=c++17", "-O2", "-g", "-fPIC", "-shared", "-ffp-contract=off", "-fwrapv", "-w")


@dataclass(frozen=True)
class HostLibrary:
    """Kernels of one source, callable on the CPU."""

    library: ctypes.CDLL
    parameters: dict[str, list[str]]

    def launch(
        self, kernel: str, *, grid: Any, block: Any, args: tuple[Any, ...], shared: int = 0, seed: int = 0
    ) -> None:
        """Run one kernel to its end; blocks and threads in an order drawn from `seed`."""
        (x, y, z), threads = (*np.atleast_1d(grid).tolist(), 1, 1)[:3], int(np.prod(block))
        assert x < 2**31 and max(y, z) < 2**16 and min(x, y, z) > 0, f"{kernel}: a grid of {grid}"  # noqa: PT018
        assert 0 < threads <= 1024, f"{kernel}: a block of {block}"
        assert 0 <= shared <= 227 * 1024, f"{kernel}: {shared} bytes of shared memory"
        expected = self.parameters[kernel]
        assert len(args) == len(expected), f"{kernel} takes {expected}"
        values = [_argument(value, kind) for value, kind in zip(args, expected, strict=True)]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        dims = [(ctypes.c_uint * 3)(*[*np.atleast_1d(d).tolist(), 1, 1][:3]) for d in (grid, block)]
        run = self.library[f"shim_launch_{kernel}"]
        run(pointers, dims[0], dims[1], ctypes.c_size_t(shared), ctypes.c_uint64(seed))


TYPES = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "int64": np.int64,
    "unsigned long long": np.uint64,
    "uint64": np.uint64,
    "uint16": np.uint16,
    "unsigned short": np.uint16,
    "unsigned char": np.uint8,
}


def _argument(value: Any, kind: str) -> Any:
    """A value as the parameter that the source declares; a device would read the wrong bytes without a word."""
    bare = kind.replace("const", "").replace("__restrict__", "").replace("*", "").strip()
    wanted = np.dtype(TYPES[bare])
    alike = (value.dtype.kind == "f") == (wanted.kind == "f")
    assert alike and value.dtype.itemsize == wanted.itemsize, f"{value.dtype} for a parameter of type {kind}"  # noqa: PT018
    if isinstance(value, np.ndarray):
        assert "*" in kind, f"{kind} is no pointer"
        assert value.flags.c_contiguous, "arrays must be contiguous"
        return ctypes.c_void_p(value.ctypes.data)
    assert "*" not in kind, f"{kind} needs an array"
    raw = value.tobytes()
    return (ctypes.c_char * len(raw)).from_buffer_copy(raw)


def kernels_of(text: str) -> dict[str, list[str]]:
    """Kernel -> its parameter types, from preprocessed source."""
    found = {}
    pattern = r'extern\s*"C"\s*(?:__global__\s+)?void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)\s*\{'
    for name, parameters in re.findall(pattern, text):
        kinds = [re.sub(r"\s*\b\w+$", "", p.strip()) for p in parameters.split(",") if p.strip()]
        found[name] = kinds
    return found


@cache
def build(name: str) -> HostLibrary:
    """Compile ``kernels/cuda/<name>.cu`` with g++; every ``extern "C" __global__`` function becomes launchable."""
    source = SOURCES / f"{name}.cu"
    command = ["g++", "-std=c++17", "-E", "-P", "-w", "-I", str(SOURCES), "-include", str(HERE / "shim.hpp")]
    text = subprocess.run([*command, "-x", "c++", str(source)], check=True, capture_output=True, text=True).stdout
    parameters = kernels_of(text)
    wrapper = [f'#include "{HERE / "shim.hpp"}"', f'#include "{source}"']
    for kernel, kinds in parameters.items():
        values = ", ".join(f"*({kind}*)a[{i}]" for i, kind in enumerate(kinds))
        wrapper.append(
            f"static void shim_body_{kernel}(void** a) {{ {kernel}({values}); }}\n"
            f'extern "C" void shim_launch_{kernel}(void** a, const unsigned* g, const unsigned* b, size_t s, '
            f"uint64_t seed) {{ shim::launch(shim_body_{kernel}, a, {{g[0], g[1], g[2]}}, {{b[0], b[1], b[2]}}, "
            "s, seed); }"
        )
    made_of = (text, *wrapper, *_FLAGS, _compiler())
    output = KEPT / f"{name}-{hashlib.sha256(chr(0).join(made_of).encode()).hexdigest()[:16]}.so"
    if not output.exists():
        _compile("\n".join(wrapper), output)
    return HostLibrary(ctypes.CDLL(str(output)), parameters)


@cache
def _compiler() -> str:
    return subprocess.run(["g++", "--version"], check=True, capture_output=True, text=True).stdout


def _compile(unit: str, output: Path) -> None:
    """Whole or not at all: two processes may compile the same."""
    output.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shim-", dir=output.parent) as folder:
        source, made = Path(folder) / "unit.cpp", Path(folder) / output.name
        source.write_text(unit)
        command = ["g++", *_FLAGS, "-I", str(SOURCES), str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        made.replace(output)
