"""Trials on two nodes, one of which has another disk and is killed: nothing is lost, and nothing is written there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from engine.cluster.conf import ClusterConf
from engine.records import Epoch, Trial, TrialState
from engine.train.conf import SearchConf
from engine.train.crew import spread
from engine.train.sweep import LocalSearch, SweepJob, read_trial
from engine.train.tune import RaySearch
from tests.engine.cluster.nodes import Cluster, cluster
from tests.engine.train.made import MODEL, ignore_epoch, make_job, make_plan

Record = Callable[[str, object], None]

MODULE = """\
import os, sys, time
from pathlib import Path

import ray

from engine.train.model import TabularModel

OPENED, WRITING = set(), os.O_WRONLY | os.O_RDWR | os.O_CREAT


def remember(event, values):
    if event == "open" and isinstance(values[0], str) and (values[2] or 0) & WRITING:
        OPENED.add(values[0])


sys.addaudithook(remember)


class Signed(TabularModel):
    '''Leaves the node that trains it, and every path that its process opens to write.'''

    def __init__(self, *, name, marks, **rest):
        super().__init__(**rest)
        self.name, self.marks = name, Path(marks)

    def on_train_epoch_start(self):
        here, killed = (self.marks.parent / "record" / name for name in ("here", "killed"))
        for _ in range(6000):  # the other node trains, until it dies
            if not here.exists() or killed.exists():
                break
            time.sleep(0.1)
        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        with open(self.marks / node, "a") as file:
            file.write(f"{self.name}\\n")
        (self.marks / f"{node}.opened").write_text("\\n".join(sorted(OPENED)))
"""
OTHER_DISK = ("sh", "-c", 'mount -t tmpfs none "$1" && shift && exec "$@"', "sh")


@pytest.fixture(scope="module")
def isolated() -> tuple[str, ...]:
    """How a program runs whose mounts nobody else sees."""
    for way in (("unshare", "-m"), ("unshare", "-rm")):
        if subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0:
            return way
    pytest.skip("this system lets nobody mount a disk of its own")


@pytest.fixture
def pair(isolated: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head, and a node on which an empty disk lies where the driver's record is."""
    record = tmp_path / "record"
    record.mkdir()
    (record / "here").touch()
    (tmp_path / "twoland.py").write_text(MODULE)
    with cluster() as made:
        made.add(wrapper=(*isolated, *OTHER_DISK, str(record)))
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            monkeypatch.delenv(name)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.ray
def test_a_node_with_another_disk_is_killed(pair: Cluster, tmp_path: Path, record_property: Record) -> None:
    marks, record, epochs = tmp_path / "marks", tmp_path / "record", 3
    marks.mkdir()
    plans = [
        make_plan(i, {**MODEL, "_target_": "twoland.Signed", "marks": str(marks), "name": f"trial-{i:03d}"}, **changes)
        for i, changes in enumerate({"lr": 0.01 * (i + 1), "max_epochs": epochs} for i in range(6))
    ]
    job = make_job(record / "job", *plans, trusted=("twoland",))
    joined = ClusterConf(kind="ray", address=f"127.0.0.1:{pair.port}", nodes=2)
    conf = SearchConf(grace_period=epochs, max_failures=0)  # a node that dies is no fault of a trial
    search = RaySearch(conf, scratch=record / "scratch", paths=(str(tmp_path),), cluster=joined)
    ended: list[str] = []
    lost: list[str] = []  # the trial that ran on the node when it was killed
    other = ""

    def kill(trial: str, epoch: Epoch) -> None:
        there = (marks / other).read_text().split() if (marks / other).exists() else []
        if not lost and there and there[-1] == trial and epoch.epoch == 2 and set(there) & set(ended):
            lost.append(trial)
            assert {path.name for path in disk.iterdir()} == set()
            pair.nodes[1].kill()
            (record / "killed").touch()

    try:
        search.start()
        search._wait()
        other, disk = other_node(pair, record)
        trials = search.run(job, on_epoch=kill, on_trial=lambda trial: ended.append(trial.id))
    finally:
        search.close()

    # Both nodes trained, one died under a trial, and every trial is there: once, whole, with its own weights.
    assert lost
    trained_there = set((marks / other).read_text().split())
    assert len(trained_there) >= 2
    assert {mark.name for mark in marks.iterdir() if "." not in mark.name} > {other}
    assert sorted(ended) == [plan.id for plan in plans]
    assert [read_trial(job.folder, plan.id) for plan in plans] == list(trials)
    alone = undisturbed(job, tmp_path / "alone")
    for trial, expected in zip(trials, alone, strict=True):
        assert (trial.state, len(trial.curve), trial.value) == (TrialState.FINISHED, epochs, expected.value)
        assert Path(trial.weights).read_bytes() == Path(expected.weights).read_bytes()

    # The worker there wrote into its temporary folder and Ray's, and nowhere else.
    opened = (marks / f"{other}.opened").read_text().splitlines()
    allowed = (f"{tempfile.gettempdir()}/tidegate-trial-", str(pair.folder), str(marks))
    devices = {path for path in opened if path.startswith("/dev/") and not path.startswith(str(tmp_path))}
    strange = [path for path in opened if not path.startswith(allowed) and not path.endswith("__pycache__")]
    assert set(strange) <= devices
    assert any("tidegate-trial-" in path for path in opened)
    record_property("a node killed under a sweep: trials listed and equal", f"{len(trials)} of {len(plans)}")


def other_node(pair: Cluster, record: Path) -> tuple[str, Path]:
    """The id of the node that is not the driver's, and what its processes see where the record is."""
    here = ray.get_runtime_context().get_node_id()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    assert len(nodes) == 2  # `cluster.nodes` waits for both
    inside = pair.nodes[1].pids()[0]
    return next(node for node in nodes if node != here), Path(f"/proc/{inside}/root{record}")


@pytest.mark.parametrize(
    ("cpus", "threads", "most", "expected"),
    [
        ({"b": 2, "a": 3}, 1, 0, "babaa"),  # in turn, the driver's node first
        ({"b": 4, "a": 2}, 2, 0, "bab"),
        ({"b": 0, "a": 2, "c": 2}, 1, 0, "acac"),  # a head that trains nothing
        ({"b": 8, "a": 8}, 1, 3, "bab"),
        ({"b": 1}, 1, 3, "bbb"),  # more than there are CPUs, where it is asked for
        ({"b": 1}, 2, 0, "b"),
    ],
)
def test_workers_are_spread(cpus: dict[str, int], threads: int, most: int, expected: str) -> None:
    nodes = [{"NodeID": name, "Alive": True, "Resources": {"CPU": float(count)}} for name, count in cpus.items()]
    nodes.append({"NodeID": "dead", "Alive": False, "Resources": {"CPU": 9.0}})
    assert "".join(spread(nodes, "b", threads, most)) == expected


@pytest.mark.parametrize(
    ("gpus", "share", "most", "expected"),
    [
        ({"a": 2, "b": 0}, 1.0, 0, "aa"),  # the driver has none, and trains nothing
        ({"a": 1, "b": 1}, 0.5, 0, "baba"),
        ({"a": 4, "b": 1}, 1.0, 0, "baa"),  # no more than two CPUs there
        ({"a": 4, "b": 1}, 1.0, 5, "baaaa"),  # where it is asked for, they share the CPUs
    ],
)
def test_workers_go_where_gpus_are(gpus: dict[str, int], share: float, most: int, expected: str) -> None:
    nodes = [
        {"NodeID": name, "Alive": True, "Resources": {"CPU": 2.0, "GPU": float(count)}} for name, count in gpus.items()
    ]
    assert "".join(spread(nodes, "b", 1, most, share)) == expected


def undisturbed(job: SweepJob, folder: Path) -> tuple[Trial, ...]:
    """The same trials one after the other in this process."""
    sys.path.append(str(job.folder.parents[1]))
    try:
        local = LocalSearch(SearchConf(backend="local"))
        return local.run(replace(job, folder=folder), on_epoch=ignore_epoch, on_trial=lambda trial: None)
    finally:
        sys.path.pop()
