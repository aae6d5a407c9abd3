"""`tidegate submit` against a real Ray with its dashboard, started and ended by this file."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.cluster.conf import ClusterConf
from engine.cluster.jobs import Jobs
from engine.cluster.request import Request
from engine.errors import ConfigError
from engine.verbs import submit
from tests.engine.cluster.nodes import Cluster, cluster
from tests.engine.world import Answer, World

needs_ray = pytest.mark.ray


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    """A Ray whose dashboard answers on loopback, and wants its token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # tidegate is installed there
        with cluster(dashboard=True, cpus=2) as made:
            yield made


@pytest.fixture
def there(head: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The overrides that name this cluster."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    for name, value in head.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # the command line goes before it
    return ["cluster=ray", f"cluster.address=http://127.0.0.1:{head.dashboard}"]


def ask(world: World, verb: str, *more: str) -> Answer:
    """Submit a verb of this world; its folder of configs travels."""
    return world.ask("submit", verb, f"cluster.working_dir={world.folder}", *more)


@needs_ray
def test_a_verb_runs_there_and_its_exit_code_is_handed_on(
    there: list[str], new: World, tmp_path: Path, head: Cluster
) -> None:
    world = World(new.folder, tmp_path / "run")
    answer = ask(world, "validate", "window=2026-02", *there)
    assert answer.out, answer.err
    assert (answer.code, answer.value["status"], answer.value["code"]) == (0, "SUCCEEDED", 0)
    job = answer.value["job"]
    assert f"job {job} is submitted to http://127.0.0.1:{head.dashboard}" in answer.err
    assert "2026-02" in answer.err.partition("is submitted")[2]  # the log of the job
    assert head.token.read_text() not in answer.err + answer.out

    known = world.ask("submit", "--status", job, *there)
    assert (known.code, known.value["status"]) == (0, "SUCCEEDED")
    lost = world.ask("submit", "--status", "job-7", *there)
    assert (lost.code, lost.err) == (2, "job:job-7: there is none of that id - see the ids on the dashboard\n")

    # A verdict is no failure: the 3 of a window that drifts comes back as 3.
    drifted = ask(world, "drift", "window=2026-04", "against=2026-03", *there)
    assert (drifted.code, drifted.value["status"], drifted.value["code"]) == (3, "FAILED", 3)


def request(seconds: int, name: str) -> Request:
    """A job that only waits."""
    words = (sys.executable, "-c", f"import time; print('waiting', flush=True); time.sleep({seconds})")
    return Request(name=name, words=words, conf=ClusterConf(kind="ray"))


@needs_ray
def test_ctrl_c_lets_go_and_the_same_command_takes_hold_again(there: list[str], new: World, head: Cluster) -> None:
    jobs = Jobs(f"http://127.0.0.1:{head.dashboard}")
    job, fresh = jobs.submit(request(3600, "patient"))
    assert fresh
    assert jobs.submit(request(3600, "patient")) == (job, False)
    heard: list[str] = []

    press = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))

    def hear(text: str) -> None:
        heard.append(text)
        if "waiting" in "".join(heard) and press.ident is None:  # once: a second one would end these tests
            press.start()

    with pytest.raises(KeyboardInterrupt):
        jobs.follow(job, hear)
    assert jobs.state(job).status == "RUNNING"
    stopped = new.ask("submit", "--stop", job, *there)
    assert (stopped.code, stopped.value["status"], stopped.value["code"]) == (0, "STOPPED", 130)
    assert jobs.submit(request(0, "patient")) == ("patient-2", True)
    assert jobs.follow("patient-2", heard.append).code == 0


@needs_ray
def test_another_token_is_refused(
    there: list[str], head: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("another-token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match=r"wants another token - give the token of the cluster: RAY_AUTH_MODE=token"):
        Jobs(f"http://127.0.0.1:{head.dashboard}")


@needs_ray
@pytest.mark.slow
def test_a_sweep_on_the_cluster(there: list[str], new: World, tmp_path: Path) -> None:
    world = World(new.folder, tmp_path / "run")
    answer = ask(world, "sweep", "search.backend=ray", "train.lr=choice(0.01, 0.02)", *there)
    assert answer.code == 0, answer.err
    assert "train.lr=0.01" in answer.err
    assert len(list(world.out.rglob("trial.json"))) == 2


# ---- what needs no cluster -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "command line:submit: what is submitted is missing - write tidegate submit sweep ..."),
        (["swep"], "command line:submit: 'swep' cannot be submitted - did you mean 'sweep'?"),
        (["submit"], "command line:submit: 'submit' cannot be submitted - choose one of loop, watch, train"),
        (["sweep"], "cluster: local is this machine - add cluster=ray, cluster=kuberay or cluster=slurm"),
        (
            ["train", "train.lr=choice(1,2)", "cluster=slurm"],
            "command line:train.lr: submit takes one value for a key - a list is written [a,b]; to try several",
        ),
        (
            ["sweep", "cluster=slurm"],
            "cluster: tidegate does not speak to slurm itself - add --dry-run and hand the text on: tidegate submit "
            "... --dry-run | sbatch",
        ),
        (
            ["sweep", "cluster=ray", "out=runs/x"],
            "out: runs/x is relative, and the folder of a job goes with the job - name a folder of the cluster that",
        ),
        (
            ["sweep", "cluster=kuberay", "cluster.image=x", "out=/data/x"],
            "out: ledger and models would go with their pod - add cluster.volume=CLAIM and out=/mnt/tidegate/...",
        ),
        (
            ["sweep", "cluster=ray", "out=/x", "cluster.address=127.0.0.1:6379"],
            "cluster.address: 127.0.0.1:6379 is no Job API - write the URL of its dashboard",
        ),
        (
            ["sweep", "cluster=ray", "out=/x", "cluster.address=http://127.0.0.1:1"],
            "cluster.address: http://127.0.0.1:1 cannot be reached (Connection refused) - start the cluster with its",
        ),
        (
            ["loop", "search.address=a:1"],
            "config:search.address: has moved - write cluster=ray cluster.address=HOST:PORT",
        ),
    ],
)
def test_refusals(words: list[str], expected: str, run_line: Callable[..., str]) -> None:
    assert run_line("submit", "track=none", "data=flights", *words).startswith(expected)


@pytest.fixture
def run_line(line: Callable[[], str]) -> Callable[..., str]:
    """The line that a refused command leaves."""
    from engine import cli

    def run(*words: str) -> str:
        assert cli.run(list(words)) == 2
        return line()

    return run


def test_without_the_dashboards_packages(run_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = run_line("submit", "--status", "x", "cluster=ray")
    assert said == "submit: ray[default] is not installed - pip install 'tidegate[cluster]'"


def test_dry_run_of_a_job_request(capsys: pytest.CaptureFixture[str], fresh: World) -> None:
    words = ("sweep", "cluster=ray", f"cluster.working_dir={fresh.folder}", "train.lr=choice(1, 2)")
    assert fresh.run("submit", "--dry-run", *words) == 0
    asked = json.loads(capsys.readouterr().out)
    assert asked["address"] == "http://127.0.0.1:8265"
    assert asked["entrypoint"].startswith(f"tidegate sweep --config-dir conf experiment=world out={fresh.out} ")
    assert "'train.lr=choice(1, 2)'" in asked["entrypoint"]
    assert asked["runtime_env"]["working_dir"] == str(fresh.folder)


def test_dry_run_can_be_piped_on(capsys: pytest.CaptureFixture[str]) -> None:
    from engine import cli

    words = ["submit", "loop", "data=flights", "out=/mnt/tidegate/x", "--dry-run"]
    assert cli.run([*words, "cluster=slurm"]) == 0
    assert capsys.readouterr().out.startswith("#!/bin/bash\n#SBATCH --job-name=tidegate-loop-")
    assert cli.run([*words, "cluster=kuberay", "cluster.image=x", "cluster.volume=v"]) == 0
    assert capsys.readouterr().out.startswith("apiVersion: ray.io/v1\nkind: RayJob\n")
    assert cli.run([*words, "cluster=slurm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["document"].startswith("#!/bin/bash\n")


def test_a_job_is_let_go_with_a_word_on_how_to_find_it(monkeypatch: pytest.MonkeyPatch, fresh: World) -> None:
    class Held:
        address = "http://a:8265"

        def __init__(self, address: str | None) -> None:
            pass

        def submit(self, asked: Request) -> tuple[str, bool]:
            return "tidegate-loop-1", True

        def follow(self, job: str, write: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(submit, "Jobs", Held)
    answer = fresh.ask("submit", "validate", "cluster=ray", f"cluster.working_dir={fresh.folder}")
    assert answer.code == 130
    assert "let go: job tidegate-loop-1 goes on - the same command follows it, tidegate submit --stop" in answer.err
    assert answer.value["status"] == "RUNNING"
