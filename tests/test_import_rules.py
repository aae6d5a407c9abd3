"""The rules of the house: who may import whom, heavy things have one door, kernels stand alone, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import engine
import kernels

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("engine", "kernels") for path in (ROOT / package).rglob("*.py"))
LIMIT = 500  # lines of a file

# The door of each heavy package: the modules that may import it, or the package that they are in.
DOORS = {
    "cupy": ("kernels.arrays.", "kernels.cuda."),
    "http": ("engine.effects.webhook.",),
    "hydra": (
        "engine.cli.",
        "engine.config.composition.",
        "engine.config.explain.",
        "engine.config.schema.",
        "engine.train.search_space.",
    ),
    "lightning": ("engine.train.",),
    "llvmlite": ("engine.train.pack.blas.",),
    "numba": (*(f"engine.train.pack.{name}." for name in ("adam", "blas", "masks", "steps")), "kernels.cpu."),
    "omegaconf": (
        "engine.config.composition.",
        "engine.config.schema.",
        "engine.config.explain.",
        "engine.config.shown.",
    ),
    "optuna": ("engine.train.searchers.",),
    "prometheus_client": ("engine.pipeline.",),
    "pynvml": ("engine.train.usage.",),
    "ray": (
        "engine.cluster.",
        "engine.monitor.ray_map.",
        "engine.train.crew.",
        "engine.train.helper.",
        "engine.train.home.",
        "engine.train.lost.",
        "engine.train.pack.driver.",
        "engine.train.pack.worker.",
        "engine.train.tune.",
        "engine.train.tune_course.",
        "engine.train.tune_trial.",
        "engine.train.watchdog.",
        "engine.train.worker.",
    ),
    "smtplib": ("engine.effects.mail.",),
    "sqlalchemy": ("engine.promote.",),
    "ssl": ("engine.effects.guard.", "engine.system.reach."),
    "torch": ("engine.train.",),
    "wandb": ("engine.track.",),
}
BANNED = ("torch", "lightning", "ray", "hydra", "omegaconf", "wandb", "pyarrow", "pandas", "scipy", "sklearn")
BANNED += ("sqlalchemy", "engine")


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imported(path: Path) -> frozenset[str]:
    """Top-level packages that a file imports: as statements, or as the text that import_module is given."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and called(node) == "import_module" and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value).partition(".")[0]


def called(node: ast.Call) -> str:
    """The last word of what is called."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def test_layers() -> None:
    """The contracts of .importlinter; a new module must be given its layer there."""
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "17 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("package", DOORS)
def test_heavy_things_have_one_door(package: str) -> None:
    users = {name_of(path) for path in SOURCES if package in imported(path)}
    assert {user for user in users if not f"{user}.".startswith(DOORS[package])} == set()


def test_every_door_is_used() -> None:
    """A package that nobody imports any more has no place in the table."""
    everything = {name for path in SOURCES for name in imported(path)}
    assert set(DOORS) - {"cupy"} <= everything


def in_a_fresh_process(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_kernels_stand_alone() -> None:
    """Every module of kernels, behind a wall through which nothing else passes; then they compute."""
    modules = [
        name_of(path) for path in SOURCES if name_of(path).startswith("kernels") and ".cuda" not in name_of(path)
    ]
    program = f"""
import importlib, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BANNED!r}:
            raise ImportError(f"kernels reached for {{name}}")

sys.meta_path.insert(0, Wall())
for name in {modules!r}:
    importlib.import_module(name)
import numpy as np
from kernels.drift import ks_2samp
from kernels.metrics import roc_auc_score
from kernels.resample import delong
rng = np.random.default_rng(0)
truth, score = rng.integers(0, 2, 200), rng.random(200)
assert 0 <= ks_2samp(score, rng.random(300)).pvalue <= 1
assert abs(float(roc_auc_score(truth, score)) - float(delong(truth, score).estimate)) < 1e-12
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    assert not set(in_a_fresh_process(program).split()) & set(BANNED)


def test_the_packages_are_ours() -> None:
    """Another distribution is imported as `kernels`, too: it must not shadow this one."""
    assert Path(kernels.__file__).parent == ROOT / "kernels"
    assert Path(engine.__file__).parent == ROOT / "engine"


@pytest.mark.parametrize("package", ["engine", "kernels"])
def test_importing_has_no_side_effect(package: str) -> None:
    """No output, no thread, no file, no heavy package."""
    program = f"""
import sys, threading
before = set(sys.modules)
import {package}
assert threading.active_count() == 1
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}} & {set(DOORS)!r})
"""
    assert in_a_fresh_process(program) == "\n"


@pytest.mark.parametrize("folder", ["engine", "kernels", "tests", "benchmarks", "experiments", "conf"])
def test_no_file_is_too_long(folder: str) -> None:
    endings = {".py", ".cu", ".cuh", ".yaml", ".css"}
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in endings and path.is_file()]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > LIMIT}
    assert files
    assert long == {}


def test_nothing_is_pickled() -> None:
    """What is read back is data: safetensors and JSON."""
    users = {
        name_of(path) for path in SOURCES if {"pickle", "cloudpickle", "joblib", "dill", "shelve"} & imported(path)
    }
    assert users == set()
