"""One trial on two nodes of Ray: the steps of one process; a process of it that is killed; what Ray has no room for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from engine.cluster.conf import ClusterConf
from engine.errors import ConfigError
from engine.records import Trial, TrialState
from engine.train.conf import SearchConf
from engine.train.crew import gangs
from engine.train.sweep import LocalSearch
from engine.train.tune import RaySearch
from tests.engine.cluster.nodes import Cluster, cluster
from tests.engine.train.made import MODEL, ignore_epoch, make_job, make_plan

EPOCHS = 3
MODULE = """\
import os, signal
from pathlib import Path

import ray

from engine.train.model import TabularModel


class Marked(TabularModel):
    '''Leaves the node and the process of each that trains it; one that does not lead dies where it is told to.'''

    def __init__(self, *, marks, **rest):
        super().__init__(**rest)
        self.marks, self.steps = Path(marks), 0

    def training_step(self, batch, batch_idx):
        if ray.is_initialized():
            node = ray.get_runtime_context().get_node_id()
            (self.marks / f"{node}-{os.getpid()}").touch()
            self.steps += 1
            told = self.marks / "kill"
            if self.steps == 12 and told.exists() and told.read_text() == node:  # of 8 an epoch
                told.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two nodes of one CPU each."""
    with cluster() as made, pytest.MonkeyPatch.context() as patch:
        made.add()
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def search(pair: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaySearch]:
    """Trials of two processes; the trial's own faults are not forgiven."""
    place = tmp_path_factory.mktemp("command")
    (place / "gangland.py").write_text(MODULE)
    joined = ClusterConf(kind="ray", address=f"127.0.0.1:{pair.port}", nodes=2)
    conf = SearchConf(grace_period=EPOCHS, max_failures=0)
    made = RaySearch(conf, scratch=tmp_path_factory.mktemp("scratch"), paths=(str(place),), cluster=joined, members=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        yield made
    made.close()


def trained(search: RaySearch, folder: Path, **changes: Any) -> tuple[Trial, Trial]:
    """The same trial on Ray, and on one process here."""
    folder.mkdir(exist_ok=True)
    model = {**MODEL, "_target_": "gangland.Marked", "marks": str(folder)}
    plan = make_plan(0, model, max_epochs=EPOCHS, checkpoint_seconds=0.0, workers=2, **changes)
    job = make_job(folder / "job", plan, trusted=("gangland",))
    (shared,) = search.run(job, on_epoch=ignore_epoch, on_trial=lambda trial: None)
    single = replace(plan, train=replace(plan.train, workers=1, strategy="auto"))
    alone = replace(job, plans=(single,), folder=folder / "alone")
    (expected,) = LocalSearch(SearchConf(backend="local")).run(
        alone, on_epoch=ignore_epoch, on_trial=lambda trial: None
    )
    return shared, expected


def check(shared: Trial, expected: Trial) -> None:
    assert (shared.state, shared.reason) == (TrialState.FINISHED, "")
    assert [e.train_loss for e in shared.curve] == pytest.approx([e.train_loss for e in expected.curve], rel=1e-5)
    assert [e.value for e in shared.curve] == pytest.approx([e.value for e in expected.curve], abs=1e-4)


def marked(folder: Path) -> set[tuple[str, str]]:
    """Node and process of all that trained, but for this one."""
    found = (path.name.partition("-") for path in folder.iterdir())
    return {(node, pid) for node, dash, pid in found if dash and pid != str(os.getpid())}


@pytest.mark.ray
def test_two_nodes_take_the_steps_of_one_process(search: RaySearch, tmp_path: Path) -> None:
    pids = set()
    for strategy in ("ddp", "fsdp"):
        check(*trained(search, tmp_path / strategy, strategy=strategy))
        assert {node for node, _ in marked(tmp_path / strategy)} == {n["NodeID"] for n in ray.nodes() if n["Alive"]}
        pids |= marked(tmp_path / strategy)
    assert len(pids) == 2  # both processes outlive a trial


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_helper_that_is_killed_takes_no_trial_with_it(
    search: RaySearch, tmp_path: Path, strategy: str, record_property: Callable[[str, object], None]
) -> None:
    search.start()
    search._wait()
    here = ray.get_runtime_context().get_node_id()
    other = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here)
    (tmp_path / "kill").write_text(other)
    shared, expected = trained(search, tmp_path, strategy=strategy)
    check(shared, expected)
    assert not (tmp_path / "kill").exists()
    assert len(marked(tmp_path)) == 3  # the worker, the helper, and the one after it
    assert any("went on from epoch 1" in note for note in shared.notes), shared.notes
    record_property(f"a process of a {strategy} trial on two nodes killed: trials that went on, and equal", "1 of 1")


@pytest.mark.ray
def test_more_processes_than_ray_has_room_for_are_refused(search: RaySearch, tmp_path: Path) -> None:
    search.start()
    search._wait()
    made = RaySearch(SearchConf(), scratch=tmp_path, members=3)
    with pytest.raises(ConfigError) as error:
        made.run(make_job(tmp_path), on_epoch=ignore_epoch, on_trial=lambda trial: None)
    made.close()
    assert str(error.value) == (
        "train.workers: 3 processes of 1 CPUs each do not fit on the nodes of Ray, which have 2 CPUs - choose fewer, "
        "or a smaller train.threads"
    )


@pytest.mark.parametrize(
    ("cpus", "gpus", "threads", "size", "most", "share", "expected"),
    [
        ({"b": 4, "a": 2}, {}, 1, 2, 0, 0.0, ["bb", "bb", "aa"]),  # one node each, the emptiest first
        ({"b": 1, "a": 1}, {}, 1, 2, 0, 0.0, ["ba"]),  # over two, the driver's first
        ({"b": 3, "a": 3}, {}, 1, 3, 0, 0.0, ["bbb", "aaa"]),
        ({"b": 3, "a": 2}, {}, 1, 4, 0, 0.0, ["bbba"]),  # what is left is no gang
        ({"b": 4}, {}, 2, 2, 0, 0.0, ["bb"]),
        ({"b": 1}, {}, 1, 2, 0, 0.0, []),
        ({"b": 8}, {}, 1, 2, 1, 0.0, ["bb"]),
        ({"b": 8, "a": 8, "c": 8}, {"b": 0, "a": 4, "c": 2}, 1, 2, 0, 1.0, ["aa", "aa", "cc"]),  # where GPUs are
        ({"b": 2, "a": 3}, {}, 1, 1, 0, 0.0, ["b", "a", "b", "a", "a"]),  # of one process: spread
    ],
)
def test_gangs_lie_close_together(
    cpus: dict[str, int],
    gpus: dict[str, int],
    threads: int,
    size: int,
    most: int,
    share: float,
    expected: list[str],
) -> None:
    nodes = [
        {"NodeID": name, "Alive": True, "Resources": {"CPU": float(count), "GPU": float(gpus.get(name, 0))}}
        for name, count in cpus.items()
    ]
    nodes.append({"NodeID": "dead", "Alive": False, "Resources": {"CPU": 9.0, "GPU": 9.0}})
    assert ["".join(gang) for gang in gangs(nodes, "b", threads, size, most, share)] == expected
