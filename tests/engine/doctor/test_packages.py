"""Versions: each that must not run is named with its cure; those next to it are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import __version__
from engine.doctor import State, examine, packages, version_of, versions
from engine.records import to_plain
from tests.engine.doctor.conftest import Examined, faults


def test_a_good_machine_has_no_fault(tmp_path: Path, examined: Examined) -> None:
    found = examined(tmp_path / "not" / "there" / "yet")
    assert not faults(found)
    assert found["torch"].found == "2.13.0+cpu"
    assert found["Ray"].found == "2.60.0, joins the one of this machine"
    assert found["W&B"].found == "0.31.0, offline: no WANDB_API_KEY"
    assert found["storage"].found == f"{tmp_path}: write, fsync and rename work"
    assert found["clock"].found == "the disk of out= agrees within 5 s"
    assert list(tmp_path.iterdir()) == []
    assert to_plain(list(found.values()))[0]["state"] == "good"


@pytest.mark.parametrize(
    ("package", "version", "what", "state", "cure"),
    [
        ("torch", "", "torch", State.BAD, "pip install 'torch>=2.10'"),
        ("torch", "2.9.1+cu128", "torch", State.BAD, "use 2.10 or later"),
        ("torch", "2.10.0", "torch", State.GOOD, ""),
        ("torch", "2.10.0rc1", "torch", State.GOOD, ""),
        ("lightning", "", "lightning", State.BAD, "pip install 'lightning>=2.6.6'"),
        ("lightning", "2.6.2", "lightning", State.BAD, "rotate this machine's credentials"),
        ("lightning", "2.6.3", "lightning", State.BAD, "GHSA-w37p-236h-pfx3"),
        ("lightning", "2.6.3.post1", "lightning", State.BAD, "malware"),
        ("lightning", "2.6.2rc1", "lightning", State.BAD, "malware"),
        ("lightning", "2.6.1", "lightning", State.WARN, "use 2.6.6 or later"),
        ("lightning", "2.6.20", "lightning", State.GOOD, ""),
        ("hydra_core", "", "hydra-core", State.BAD, "pip install"),
        ("hydra_core", "1.3.5", "hydra-core", State.BAD, "configs could call functions"),
        ("hydra_core", "1.3.6", "hydra-core", State.GOOD, ""),
        ("ray", "", "Ray", State.BAD, "pip install 'ray[tune]'"),
        ("ray", "2.53.0", "Ray", State.BAD, "use 2.54 or later"),
        ("ray", "2.54.0", "Ray", State.WARN, "use 2.59 or later, or set RAY_AUTH_MODE=token"),
        ("ray", "2.59.0", "Ray", State.GOOD, ""),
        ("numba", "", "Numba", State.BAD, "pip install numba"),
        ("wandb", "", "W&B", State.WARN, "track=none"),
        ("safetensors", "", "packages", State.BAD, "pip install safetensors"),
    ],
)
def test_versions_that_must_not_run(
    tmp_path: Path, examined: Examined, package: str, version: str, what: str, state: State, cure: str
) -> None:
    found = examined(tmp_path, **{package: version})
    assert found[what].state is state
    assert cure in found[what].cure
    assert (version or "not installed") in found[what].found
    assert set(faults(found)) <= {what}


def test_every_package_that_is_missing_is_named(tmp_path: Path) -> None:
    found = {f.what: f for f in examine(tmp_path, lambda _: "")}
    assert found["packages"].cure == "pip install numpy pyarrow safetensors sqlalchemy"
    assert {what for what, f in found.items() if f.state is State.BAD} == {
        *("torch", "lightning", "hydra-core", "Ray", "Numba", "packages")
    }


@pytest.mark.parametrize(
    ("version", "state"),
    [("3.10.14", State.WARN), ("3.11.0", State.GOOD), ("3.13.0rc2", State.GOOD), ("3.14.0", State.WARN)],
)
def test_python(
    tmp_path: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch, version: str, state: State
) -> None:
    monkeypatch.setattr(packages.platform, "python_version", lambda: version)
    found = examined(tmp_path)["Python"]
    assert (found.state, found.found) == (state, version)


def test_versions_are_those_of_the_packages() -> None:
    found = versions()
    assert found["tidegate"] == __version__
    assert found["torch"] == version_of("torch")
    assert version_of("no-such-package-anywhere") == ""
    assert "" not in found.values()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.13.0+cpu", (2, 13, 0)), ("2.6.2rc1", (2, 6, 2)), ("1.4.0.dev9", (1, 4, 0)), ("", ()), ("unknown", ())],
)
def test_the_release_of_a_version(text: str, numbers: tuple[int, ...]) -> None:
    assert packages.numbers(text) == numbers
