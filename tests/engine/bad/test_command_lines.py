"""Words of the command line: in this process those that are refused before a config is composed, and values of the
config at the door that every composed config passes; a sample of all doors as whole commands.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from engine import cli
from engine.config.composition import Composition
from engine.config.schema import register, to_config
from engine.errors import InputError
from tests.engine.bad.corpus import PATIENCE, Case, fault_of, wrong
from tests.engine.world import World
from tests.patience import ENOUGH, timed

Record = Callable[[str, object], None]
ROOT = Path(__file__).parents[3]
LONG = 3 * PATIENCE  # of a process of its own, which imports much

WORDS = [
    *(["\0"], ["\ud800"], ["loop\n"], ["x" * 5000], ["loop", "-"], ["loop", "---x"], ["loop", "--=x"]),
    *(["loop", "--json=1"], ["loop", "--cfg"], ["loop", "--cfg="], ["loop", "-c", "x"], ["loop", "--config-dir"]),
    *(["loop", "-x"], ["loop", "-zzz"], ["loop", "--info", "nope"], ["loop", "a\nb=1"], ["loop", "\ud800=1"]),
    *(["loop", "==="], ["loop", "+"], ["loop", "~"], ["loop", "++"], ["loop", "+=1"], ["loop", "~=1"]),
    *(["loop", "train.lr={"], ["loop", "train.lr=}"], ["loop", "train.lr=${"], ["loop", "train.lr='"]),
    *(["loop", 'train.lr="'], ["loop", "train.lr=choice("], ["loop", "train.lr=" + "9" * 5000]),
    *(["loop", "train.lr=" + "[" * 2000], ["loop", "hydra.run.dir=/tmp/x"], ["loop", "hydra.output_subdir=x"]),
    *(["loop", "hydra/launcher=x"], ["loop", "hydra.mode=MULTIRUN"], ["loop", "hydra={}"], ["loop", "~hydra.job"]),
    *(["loop", "+hydra.x=1"], ["train", "train.lr=1,2"], ["evaluate", "train.lr=interval(1,2)"], ["loop", "-m"]),
    *(["--nope"], ["-"], ["loop=1"], ["LOOP"], ["loop;ls"], ["$(ls)"], ["../loop"], ["history", "--yaml"]),
]
COMPOSED = [
    *(["loop", "\0=1"], ["loop", "train.lr=\ud800"], ["loop", "train.lr=\0"], ["loop", "train.lr=${oc.env:NOPE}"]),
    *(
        ["loop", "train.lr=${unknown:1}"],
        ["loop", "train.lr=${train.lr}"],
        ["loop", "out=${out}"],
        ["loop", "--config-name", "\0"],
    ),
    *(["loop", "train.max_epochs=" + "9" * 400], ["loop", "x" * 5000 + "=1"], ["loop", "experiment=../../etc/passwd"]),
    *(["loop", "data=/etc/passwd"], ["loop", "data@x=flights"], ["loop", "model=null"], ["loop", "trust=[[a]]"]),
    *(["loop", "+_target_=os.system"], ["loop", "+train._target_=os.system"], ["loop", "data.numeric.0=x"]),
    *(["history", "loop.name=a/b"], ["report", "out=/dev/null"], ["rollback", "actor=\0", "reason=x"]),
    *(["drift", "reference=/dev/zero", "live=/dev/zero"], ["history", "promote.ledger=x"], ["loop", "gate.rules=null"]),
]


def said(words: list[str]) -> None:
    """What a command says, raised as if a door had said it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    line = err.getvalue().rstrip("\n")
    if code == 2 and out.getvalue() == "":
        where, _, rest = line.partition(": ")
        raise Said(where, *rest.rpartition(" - ")[::2]) if not fault_of(line) else AssertionError(line)
    raise AssertionError(f"exit {code}: {line[-300:]}")


class Said(InputError):
    """A line on stderr that has the right shape."""


def test_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [Case(f"{words!r:.80}", lambda words=words: said(words)) for words in [*WORDS, *COMPOSED]]
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: command lines", f"{count} of {count} one line, exit 2")


# ---- values of the config ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def composed(new: World) -> DictConfig:
    """The config of the small world, as Hydra composes it."""
    register()
    return Composition(["experiment=world", "out=/nowhere"], [f"file://{new.folder}/conf"]).root


NAN, INF = float("nan"), float("inf")
OF_TYPE: dict[str, tuple[Any, ...]] = {
    "float": (NAN, -INF, "fast", [1.0], {"a": 1}),
    "int": (2**70, -(2**70), "many", 1.5, [1], NAN),
    "bool": ("maybe", [True], {"a": True}),
    "str": ([1], {"a": 1}, "a\0b", "a\nb", "\ud800", "x" * 5000, "\u202egpj.exe"),
    "list": ("x", {"a": 1}, [["a"]], ["a\0b"], ["x" * 5000]),
}


LISTS = ("numeric", "categorical", "ignore")  # of columns, none by default


def values(composed: DictConfig) -> Iterator[tuple[str, Any]]:
    """Every key of the config with values that it cannot have."""
    skipped = ("model", "hydra", "ledgers")  # a list of URLs: [1] is one, refused when it is opened
    plain: Any = OmegaConf.to_container(composed, resolve=False)

    def walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if path == "" and key in skipped:
                continue
            if isinstance(value, dict):
                yield from walk(value, f"{path}{key}.")
                continue
            kind = "list" if key in LISTS else "str" if value is None else type(value).__name__
            for bad in OF_TYPE[kind]:
                yield f"{path}{key}", bad

    yield from walk(plain, "")


def test_values(composed: DictConfig, record_property: Record) -> None:
    nodes: dict[str, Any] = composed.__dict__["_content"]

    def attempt(key: str, value: Any) -> None:
        group = key.partition(".")[0]
        kept, nodes[group] = nodes[group], copy.deepcopy(nodes[group])  # a copy of it all would take half of the time
        try:
            OmegaConf.update(composed, key, value, merge=False)
            to_config(composed)
        finally:
            nodes[group] = kept

    cases = [
        Case(f"{key}={value!r:.40}", lambda key=key, value=value: attempt(key, value))
        for key, value in values(composed)
    ]
    count, faults = wrong(cases[::SAMPLE])
    assert not faults, "\n".join(faults)
    record_property("bad input: values of the config", f"{count} of {count} one line")


SAMPLE = 3  # one in so many of some 700

# ---- whole commands, and what surrounds them -----------------------------------------------------------------------

ENVIRONMENTS: list[tuple[str, dict[str, str], list[str]]] = [
    (
        "all at once",
        {"HOME": "", "TMPDIR": "/nowhere", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": "dumb", "COLUMNS": "x"}
        | {"WANDB_MODE": "sideways", "RAY_ADDRESS": "://", "TIDEGATE_TRUST": ",,"},
        ["history", "out=/nowhere/é"],
    ),
    ("no HOME", {"HOME": ""}, ["history"]),
    ("HOME nowhere", {"HOME": "/nowhere"}, ["history"]),
    ("TMPDIR nowhere", {"TMPDIR": "/nowhere"}, ["history"]),
    ("locale C", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, ["history", "out=/nowhere/é"]),
    ("TERM dumb", {"TERM": "dumb", "COLUMNS": "x"}, ["history"]),
    ("COLUMNS 0", {"COLUMNS": "0", "LINES": "-1"}, ["history"]),
    ("HYDRA_FULL_ERROR", {"HYDRA_FULL_ERROR": "1"}, ["history", "trian.lr=1"]),
    ("TIDEGATE_TRUST", {"TIDEGATE_TRUST": ",,\n;os"}, ["loop", "model._target_=os.system"]),
    ("WANDB_MODE", {"WANDB_MODE": "sideways", "WANDB_DIR": "/proc/x"}, ["history"]),
    ("RAY_ADDRESS", {"RAY_ADDRESS": "://:x"}, ["history"]),
    ("a bad word in bytes", {}, ["history", "out=\udcff\udcfe"]),
]


@pytest.mark.parametrize("size", [1, pytest.param(len(ENVIRONMENTS), marks=pytest.mark.slow)])
def test_environments(fresh: World, size: int, record_property: Record) -> None:
    """Each is a process of its own, which takes seconds: CI tries the first."""
    for name, changes, words in ENVIRONMENTS[:size]:
        done, seconds = timed(lambda words=words, changes=changes: command(fresh.words(*words), changes), LONG)  # type: ignore[misc]
        assert seconds < LONG, name
        assert (done.returncode, done.stdout) == (2, ""), f"{name}: {done.stderr}"
        assert not fault_of(done.stderr.rstrip("\n")), name
    record_property("bad input: environments", f"{size} of {size} one line, exit 2")


def command(words: list[str], changes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in (os.environ | changes).items() if v or k not in changes}
    return subprocess.run(
        [sys.executable, "-m", "engine.cli", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=ENOUGH,
    )


@pytest.mark.parametrize("place", ["/dev/full", "closed"])
def test_an_output_that_takes_nothing(old: World, place: str) -> None:
    """stdout is full, or was closed: one line, and no exit code that says all is well."""
    words = [sys.executable, "-m", "engine.cli", *old.words("history", "--json")]
    if place == "closed":
        done = subprocess.run(["bash", "-c", 'exec "$@" >&-', "-", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    else:
        with open(place, "w") as full:
            done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert done.stderr.rstrip("\n").splitlines()[-1].startswith("stdout: cannot be written: ")
