"""Sweeps on Ray Tune. One Ray and two workers serve all tests of this file, as they serve all sweeps of a loop."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import logging.handlers
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from engine.errors import ConfigError, InputError, TidegateError
from engine.records import Epoch, Trial, TrialState
from engine.scoring.scores import score
from engine.train import tune_course, weights
from engine.train.conf import SearchConf
from engine.train.inference import build, predict
from engine.train.sweep import LocalSearch, SweepJob, best, read_trial
from engine.train.tune import RaySearch
from tests.engine.cluster.nodes import descendants
from tests.engine.train import breeding
from tests.engine.train.made import MODEL, SPACE, adaptive, ignore_epoch, make_job, make_plan, make_rows, outcome
from tests.patience import until

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[3]
STORE = {"object_store_memory": 200_000_000}

MODULE = """\
import os, signal
from pathlib import Path

from engine.train.model import TabularModel


class Signed(TabularModel):
    '''Leaves the id of the process that trains it.'''

    def __init__(self, *, pids, **rest):
        super().__init__(**rest)
        self.pids = Path(pids)

    def on_train_start(self):
        (self.pids / str(os.getpid())).touch()


class Mapped(TabularModel):
    '''Tells where the rows that it trains on lie, and which GPU its process sees.'''

    def __init__(self, *, told, **rest):
        super().__init__(**rest)
        self.told = Path(told)

    def on_train_start(self):
        maps = Path("/proc/self/maps").read_text().splitlines()
        places = []
        for tensor in self.trainer.train_dataloader.tensors:
            at = tensor.data_ptr()
            for line in maps:
                low, high = (int(end, 16) for end in line.split()[0].split("-"))
                if low <= at < high:
                    places.append(f"{line.split()[-2] if line.endswith('(deleted)') else line.split()[-1]} {at - low}")
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        with open(self.told, "a") as file:
            file.write("|".join([str(os.getpid()), gpu, *places]) + "\\n")


class Broken(TabularModel):
    def training_step(self, batch, batch_idx):
        raise ValueError("no such\\nlayer")


class Killed(TabularModel):
    '''Its process dies in its second epoch, the first time.'''

    def __init__(self, *, mark, **rest):
        super().__init__(**rest)
        self.mark = Path(mark)

    def on_train_epoch_start(self):
        if self.current_epoch == 1 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaySearch]:
    """Two workers that find the package `rayland`, each on a quarter of a GPU that Ray only believes to be there; ASHA
    may stop a trial after its first epoch.
    """
    place = tmp_path_factory.mktemp("command")
    (place / "rayland.py").write_text(MODULE)
    conf = SearchConf(workers=2, grace_period=1, reduction_factor=2, max_failures=0)
    made = RaySearch(conf, scratch=tmp_path_factory.mktemp("scratch"), paths=(str(place), str(ROOT)), gpus=0.25)
    real = ray.init
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "init", lambda **words: real(**{**words, "num_cpus": 2, "num_gpus": 1, **STORE}))
        made.start()
        made._wait()
    yield made
    made.close()


class Told:
    """What a search says while it runs."""

    def __init__(self) -> None:
        self.epochs: list[tuple[str, int]] = []
        self.trials: list[str] = []

    def epoch(self, trial: str, epoch: Epoch) -> None:
        self.epochs.append((trial, epoch.epoch))

    def trial(self, trial: Trial) -> None:
        self.trials.append(trial.id)


def run(search: RaySearch, job: SweepJob) -> tuple[Told, tuple[Trial, ...]]:
    told = Told()
    trials = search.run(job, on_epoch=told.epoch, on_trial=told.trial)
    assert sorted(told.trials) == [plan.id for plan in job.plans]  # each of them, once
    assert [trial.id for trial in trials] == [plan.id for plan in job.plans]
    return told, trials


def test_two_sweeps_in_one_ray(search: RaySearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead: list[tuple[str, dict[str, Any]]] = []
    start = tune_course.Ahead.start
    monkeypatch.setattr(
        tune_course.Ahead, "start", lambda self, plan: ahead.append((plan.id, start(self, plan))) or ahead[-1][1]
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    signed = {**MODEL, "_target_": "rayland.Signed", "pids": str(pids)}
    rates = (0.05, 1e-6, 0.05, 1e-6, 1e-6)
    plans = [make_plan(i, signed, lr=lr, max_epochs=4) for i, lr in enumerate(rates)]
    plans.append(make_plan(5, {**MODEL, "_target_": "rayland.Broken"}))
    job = make_job(tmp_path / "job", *plans, trusted=("rayland",))
    spoken = logging.handlers.MemoryHandler(100, logging.CRITICAL + 1)
    logger = logging.getLogger("ray.tune.execution.tune_controller")
    logger.addHandler(spoken)
    told, trials = run(search, job)
    logger.removeHandler(spoken)
    assert spoken.buffer == []  # no traceback of Ray's over our own line: the record says why

    # Every trial ends with a record, the broken one too, and the others go on.
    assert [read_trial(job.folder, trial.id, failed=True) for trial in trials[:5]] == list(trials[:5])
    assert (trials[5].state, trials[5].reason) == (TrialState.FAILED, "ValueError: no such layer (rayland.py:41)")
    for trial in trials[:5]:
        epochs = [epoch for name, epoch in told.epochs if name == trial.id]
        assert epochs == list(range(1, len(trial.curve) + 1))
        if trial.state is TrialState.FINISHED:
            assert (len(trial.curve), trial.reason) == (4, "")
        else:
            assert trial.state is TrialState.STOPPED
            assert 1 <= len(trial.curve) < 4
            assert trial.reason.startswith(
                f"stopped by the scheduler after epoch {len(trial.curve)}: below the best 1/2 of "
            )

    # Each worker had its first trial before Tune's actors were up; they took it over, and no worker was lost.
    assert [(name, given["ahead"][0]) for name, given in ahead if given] == [("trial-000", 0), ("trial-001", 1)]
    assert not any("lost" in note for trial in trials for note in trial.notes)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # Tune's would swallow the next Ctrl-C

    # The best holds what its record says.
    winner = best(trials, "max")
    assert winner is not None
    assert winner.params["train.lr"] == 0.05
    assert value_of(winner, job) == winner.value
    finished = [trial for trial in trials if trial.state is TrialState.FINISHED and trial.params == winner.params]
    assert len({trial.value for trial in finished}) == 1  # whichever worker trained them
    assert list((search.scratch / "ray").iterdir()) == []  # Ray's own state is not kept
    assert 0 < search.startup_seconds

    # The same command again runs what has no record, in the same processes.
    first = {path.name for path in pids.iterdir()}
    assert 1 <= len(first) <= 2
    assert str(os.getpid()) not in first
    (job.folder / winner.id / "trial.json").unlink()
    for path in pids.iterdir():
        path.unlink()
    told, again = run(search, job)
    assert {name for name, _ in told.epochs} == {winner.id}
    assert [a for a in again[:5] if a.id != winner.id] == [t for t in trials[:5] if t.id != winner.id]
    assert next(t for t in again if t.id == winner.id).value == winner.value
    assert len(first | {path.name for path in pids.iterdir()}) <= 2


def value_of(trial: Trial, job: SweepJob) -> float:
    """The metric of the weights that a trial left, on the validation rows."""
    plan = next(plan for plan in job.plans if plan.id == trial.id)
    model = build({**MODEL}, job.spec, plan.train)
    weights.load(model, Path(trial.weights).read_bytes(), trial.weights)
    assert job.validation.target is not None
    return score(job.metric, job.spec.task, job.validation.target, predict(model, job.validation, job.spec.task))


def test_the_ray_that_we_start_is_ours_alone(search: RaySearch) -> None:
    """Every port is on loopback, a token is needed that only this user reads, no dashboard, nothing is reported."""
    search._wait()
    pids = [os.getpid(), *descendants(os.getpid())]
    addresses = listening(pids)
    assert len(addresses) >= 4  # of the head, the node, this process, its workers
    assert [port for address, port in addresses if not ipaddress.ip_address(address).is_loopback] == []
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(token.read_text()) == 64
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_AUTH_TOKEN" not in os.environ
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert not any(token.read_bytes() in command for command in commands)
    assert ray.get_runtime_context().get_node_id()
    assert not ray._private.worker.get_dashboard_url()


def listening(pids: list[int]) -> set[tuple[str, str]]:
    """(address, address and port as the system writes them) on which these processes listen."""
    sockets = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(entry))
    found: set[tuple[str, str]] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                raw = bytes.fromhex(fields[1].partition(":")[0])
                address = ipaddress.ip_address(b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4)))
                found.add((str(getattr(address, "ipv4_mapped", None) or address), fields[1]))
    return found


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_trial_is_not_taken_for_a_stopped_one(
    search: RaySearch, tmp_path: Path, word: signal.Signals, request: pytest.FixtureRequest
) -> None:
    job = make_job(tmp_path, *(make_plan(i, max_epochs=40) for i in range(2)))

    pressed: list[str] = []

    def interrupt(trial: str, epoch: Epoch) -> None:
        if epoch.epoch == 2 and not pressed:
            pressed.append(trial)
            os.kill(os.getpid(), word)

    if word is signal.SIGTERM:  # whoever runs the tests may have a handler of their own
        theirs = signal.signal(word, signal.SIG_DFL)
        request.addfinalizer(lambda: signal.signal(word, theirs))
    handler = signal.getsignal(word)
    with pytest.raises(KeyboardInterrupt):
        search.run(job, on_epoch=interrupt, on_trial=lambda trial: None)
    assert signal.getsignal(word) is handler
    # Ray tells of free CPUs with a delay
    until(lambda: ray.available_resources().get("CPU", 0.0) >= 2.0, "actors of the sweep hold CPUs", every=0.1)
    assert signal.alarm(0) == 0  # Ray's own handler would abort this process three seconds after SIGTERM
    ended = [read_trial(tmp_path, plan.id, failed=True) for plan in job.plans]
    assert None in ended
    assert all(trial is None or len(trial.curve) < 3 for trial in ended)  # ASHA may have stopped one of them before


def searching(monkeypatch: pytest.MonkeyPatch, search: RaySearch, **conf: Any) -> SearchConf:
    """Give the running search another config."""
    made = replace(search.conf, searcher="tpe", space=SPACE, num_samples=5, startup=2, **conf)
    monkeypatch.setattr(search, "conf", made)
    return made


def test_one_trial_at_a_time_is_the_same_sweep_on_ray(
    search: RaySearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, and looking at single rows: searcher, scheduler and workers do as they would in one process."""
    conf = searching(monkeypatch, search, scheduler="paired", metric="log_loss", max_concurrent=1)
    of = {"metric": "log_loss", "mode": "min"}
    here = LocalSearch(conf).run(
        adaptive(tmp_path / "here", conf, **of), on_epoch=ignore_epoch, on_trial=lambda trial: None
    )
    assert {trial.state for trial in here} == {TrialState.FINISHED, TrialState.STOPPED}

    def interrupt(trial: str, epoch: Epoch) -> None:
        if (trial, epoch.epoch) == ("trial-003", 1):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        search.run(adaptive(tmp_path / "ray", conf, **of), on_epoch=interrupt, on_trial=lambda trial: None)
    there = search.run(adaptive(tmp_path / "ray", conf, **of), on_epoch=ignore_epoch, on_trial=lambda trial: None)
    assert outcome(there) == outcome(here)


def test_a_population_on_two_workers_is_the_same_as_in_one_process(
    search: RaySearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four members, two places, interrupted in the second stretch: each adopter begins with the very weights and
    moments that its donor ended the round with, in another process or at another time.
    """
    conf = breeding.conf(backend="ray")
    here = LocalSearch(conf).run(
        breeding.breeding(tmp_path / "here", conf, told=tmp_path / "told"),
        on_epoch=ignore_epoch,
        on_trial=lambda trial: None,
    )
    monkeypatch.setattr(
        search, "conf", replace(search.conf, scheduler="pbt", num_samples=4, seed=conf.seed, max_failures=1)
    )
    job = breeding.breeding(tmp_path / "ray", conf, told=tmp_path / "told")
    (tmp_path / "told").unlink()

    pressed: list[str] = []

    def interrupt(trial: str, epoch: Epoch) -> None:
        if epoch.epoch == 3 and not pressed:
            pressed.append(trial)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        search.run(job, on_epoch=interrupt, on_trial=lambda trial: None)
    told: list[str] = []
    there = search.run(job, on_epoch=ignore_epoch, on_trial=lambda trial: told.append(trial.id))
    assert outcome(there) == outcome(here)
    assert [trial.schedule for trial in there] == [trial.schedule for trial in here]
    assert sorted(told) == [plan.id for plan in job.plans]
    rounds = json.loads((job.folder / "population.json").read_text())["takeovers"]
    assert [takeover["after"] for takeover in rounds] == [2, 4]
    for begun, ended in breeding.handed_on(tmp_path / "told", job, rounds):
        assert len(begun) == 1
        assert begun == ended


def test_a_budget_stops_what_runs(search: RaySearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trials run when the third epoch uses the budget up: both end, and no other begins."""
    conf = searching(monkeypatch, search, scheduler="none", compute_hours=1 / 3600)
    job = adaptive(tmp_path, conf, devices=1e9)
    trials = search.run(job, on_epoch=ignore_epoch, on_trial=lambda trial: None)
    assert 1 <= len(trials) <= 2
    assert {trial.state for trial in trials} == {TrialState.STOPPED}
    assert {trial.reason for trial in trials} == {f"stopped: the budget is used up (search.compute_hours={1 / 3600:g})"}
    assert search.run(job, on_epoch=ignore_epoch, on_trial=lambda trial: None) == trials


def test_a_disk_that_refuses_ends_the_sweep_with_one_line(
    search: RaySearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = searching(monkeypatch, search, scheduler="none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: "):
        search.run(adaptive(tmp_path / "file", conf), on_epoch=ignore_epoch, on_trial=lambda trial: None)


def test_rows_are_mapped_and_not_copied_and_a_gpu_is_shared(search: RaySearch, tmp_path: Path) -> None:
    """The rows lie in Ray's shared memory once, and both workers train on them where they lie."""
    model = {**MODEL, "_target_": "rayland.Mapped", "told": str(tmp_path / "told")}
    plans = [make_plan(i, model, max_epochs=3, batch_size=4096) for i in range(4)]
    job = make_job(tmp_path / "job", *plans, trusted=("rayland",), train=make_rows(n=50_000))
    run(search, job)
    told = [line.split("|") for line in (tmp_path / "told").read_text().splitlines()]
    assert len(told) == 4
    for _, gpu, *places in told:
        assert gpu == "0"
        assert len(places) == 3
        assert all(re.match(r"/\S+/plasma\S* \d+$", place) for place in places), places
    assert len({tuple(places) for _, _, *places in told}) == 1  # one copy, whichever process looks
    assert ray.cluster_resources()["GPU"] == 1.0
    assert ray.available_resources()["GPU"] == 0.5  # two workers of a quarter


def test_more_workers_than_gpus_are_refused(search: RaySearch, tmp_path: Path) -> None:
    made = RaySearch(SearchConf(workers=5), scratch=tmp_path, gpus=0.25)
    with pytest.raises(
        ConfigError, match=r"^search\.workers: 5 workers of 0\.25 GPUs each do not fit on the 1 that Ray"
    ):
        made.run(make_job(tmp_path), on_epoch=ignore_epoch, on_trial=lambda trial: None)
    made.close()


@pytest.mark.slow
def test_a_worker_that_dies_takes_no_trial_with_it(
    search: RaySearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.conf, "max_failures", 0)  # it is no failure
    model = {**MODEL, "_target_": "rayland.Killed", "mark": str(tmp_path / "mark")}
    plans = [make_plan(0, model, max_epochs=2), make_plan(1, max_epochs=1)]
    _, trials = run(search, make_job(tmp_path / "job", *plans, trusted=("rayland",)))
    assert (tmp_path / "mark").exists()
    assert [trial.state for trial in trials] == [TrialState.FINISHED] * 2


def test_a_ray_that_does_not_start_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: RaySearch) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(RaySearch, "_init", refuse)
    made = RaySearch(SearchConf(), scratch=tmp_path)
    with pytest.raises(TidegateError, match=r"^Ray could not be started: no route to host$"):
        made.run(make_job(tmp_path), on_epoch=ignore_epoch, on_trial=lambda trial: None)
    made._down.set()


def test_closing_what_was_never_started_costs_nothing(tmp_path: Path) -> None:
    made = RaySearch(SearchConf(), scratch=tmp_path)
    made.close()
    assert made.startup_seconds == 0.0


@pytest.mark.slow
def test_a_trial_on_two_processes(search: RaySearch, tmp_path: Path) -> None:
    """Helpers start from a thread of Ray's own process, and end with the trial."""
    _, (alone,) = run(search, make_job(tmp_path / "one", make_plan(0)))
    _, (shared,) = run(search, make_job(tmp_path / "two", make_plan(0, workers=2)))
    assert shared.state is TrialState.FINISHED
    losses = [[epoch.train_loss for epoch in trial.curve] for trial in (alone, shared)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
