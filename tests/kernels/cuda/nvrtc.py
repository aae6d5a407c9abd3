"""Compile a .cu file to a cubin by NVRTC, without a GPU or a driver, and read what ptxas says of each kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[3] / "kernels" / "cuda"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


@dataclass(frozen=True)
class Usage:
    """Resources of one kernel."""

    registers: int
    spill_bytes: int
    shared_bytes: int


@cache
def compile_source(name: str, architecture: str) -> dict[str, Usage]:
    """Kernel -> usage of ``kernels/cuda/<name>.cu``; AssertionError with the log when it does not compile."""
    from cuda.bindings import nvrtc

    text = (SOURCES / f"{name}.cu").read_text()
    headers = sorted(SOURCES.glob("*.cuh"))
    program = _checked(
        nvrtc.nvrtcCreateProgram(
            text.encode(),
            f"{name}.cu".encode(),
            len(headers),
            [header.read_bytes() for header in headers],
            [header.name.encode() for header in headers],
        )
    )
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--ptxas-options=-v", "--fmad=false"]
    status = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
    size = _checked(nvrtc.nvrtcGetProgramLogSize(program))
    log = b" " * size
    _checked(nvrtc.nvrtcGetProgramLog(program, log))
    nvrtc.nvrtcDestroyProgram(program)
    report = log.decode(errors="replace")
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, f"{name}.cu on {architecture}:\n{report}"
    return parse(report)


def parse(log: str) -> dict[str, Usage]:
    """The ``ptxas info`` lines of a log, kernel by kernel."""
    found: dict[str, Usage] = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.split("'", 1)[0]
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", part)
        shared = re.search(r"(\d+) bytes smem", part)
        assert registers is not None, part[:400]
        found[name] = Usage(int(registers.group(1)), sum(map(int, spills)), int(shared.group(1)) if shared else 0)
    return found


def _checked(result: tuple[Any, ...]) -> Any:
    assert int(result[0]) == 0, result[0]
    return result[1] if len(result) > 1 else None
