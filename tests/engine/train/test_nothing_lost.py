"""Kill a sweep anywhere, its command or a part of Ray: the same command goes on, and ends as if undisturbed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.train.sweep import LocalSearch
from tests.engine.train import sweeping
from tests.engine.train.everywhere import killed_everywhere, kills
from tests.engine.train.made import ignore_epoch
from tests.patience import ENOUGH, until

ROOT = Path(__file__).parents[3]
WHOLE = 12  # epochs of the sweep: 3 trials of 4


@kills(17, 1, 60)
def test_killed_at_every_write_point(
    every: int, doubles: int, part: int, parts: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = killed_everywhere("tests.engine.train.crash", tmp_path / "work", every, doubles, part, parts)
    record_property(
        "a sweep killed at any write point ends as undisturbed",
        f"{found['killed']} kills in {found['cases']} cases of {found['points']} points, 0 wrong;"
        f" at most {found['dearest']} epochs for a kill",
    )


class Sweep:
    """The sweep of sweeping.py as a process."""

    def __init__(self, folder: Path, seconds: float, *words: str) -> None:
        self.folder, self.seconds, self.words = folder, seconds, words
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.engine.train.sweeping", str(self.folder), str(self.seconds)]
        command += self.words
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def lines(self) -> list[list[str]]:
        """What the epochs have left: rate, epoch, process."""
        path = self.folder / "epochs"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, epochs: int) -> None:
        """Until so many have begun in all processes so far."""
        process = self.process
        assert process is not None
        until(lambda: len(self.lines()) >= epochs or process.poll() is not None)
        assert len(self.lines()) >= epochs, process.communicate()

    def end(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, the JSON line, stderr."""
        assert self.process is not None
        out, err = self.process.communicate(timeout=ENOUGH)
        line = out.strip().splitlines()[-1:] or ["{}"]
        return self.process.returncode, json.loads(line[0]), err

    def run(self) -> tuple[int, dict[str, Any], str]:
        self.start()
        return self.end()

    def descendant(self, name: str) -> int:
        """A process below the command, by its program."""
        assert self.process is not None
        listing = ["ps", "-ww", "-eo", "pid=,ppid=,args="]
        listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        parents, programs = {}, {}
        for line in listed.splitlines():
            pid, parent, args = line.split(None, 2)
            parents[int(pid)], programs[int(pid)] = int(parent), args.split()[0]
        for pid, program in programs.items():
            ancestor = pid
            while ancestor in parents and ancestor != self.process.pid:
                ancestor = parents[ancestor]
            if ancestor == self.process.pid and Path(program).name == name:
                return pid
        raise AssertionError(f"no {name} among {sorted(set(programs.values()))}")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the sweep leads to when nobody disturbs it: in one process, one trial after the other, without Ray."""
    folder = tmp_path_factory.mktemp("truth") / "sweep"
    job = sweeping.job_of(folder, 0.0)
    trials = LocalSearch(sweeping.CONF).run(job, on_epoch=ignore_epoch, on_trial=lambda trial: None)
    answer = sweeping.led_to(job, trials)
    assert answer["states"] == ["finished"] * 3
    assert len(Sweep(folder, 0.0).lines()) == WHOLE
    return answer


def kill(sweep: Sweep, what: str) -> None:
    """One disturbance."""
    assert sweep.process is not None
    if what == "worker":
        os.kill(int(sweep.lines()[-1][2]), signal.SIGKILL)
    elif what == "worker, SIGTERM":
        os.kill(int(sweep.lines()[-1][2]), signal.SIGTERM)
    elif what in ("raylet", "gcs_server"):
        os.kill(sweep.descendant(what), signal.SIGKILL)
    elif what == "Ray's state":
        sweep.process.kill()
        for number, path in enumerate(sorted((sweep.folder / "ray").rglob("*"))):
            if path.is_file() and number % 2:
                path.write_bytes(path.read_bytes()[:7])
            elif path.is_file():
                path.unlink()
    else:
        sweep.process.send_signal({"command": signal.SIGKILL, "Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}[what])


CODES = {  # of the disturbed command
    "command": (-signal.SIGKILL,),
    "Ray's state": (-signal.SIGKILL,),
    "Ctrl-C": (130,),
    "SIGTERM": (130,),
    "worker": (0,),
    "worker, SIGTERM": (0,),
    "raylet": (0,),
    "gcs_server": (0, 1),  # where Ray does not answer its caller any more, the command ends with one line
}


def disturbed(sweep: Sweep, what: str, moments: list[int]) -> dict[str, Any]:
    """What a sweep leads to that is disturbed at each of these moments, and goes on."""
    code = -1
    for moment in moments:
        sweep.start()
        sweep.wait_for(moment)
        kill(sweep, what)
        code, answer, err = sweep.end()
        assert code in CODES[what], err
    if code:
        code, answer, err = sweep.run()
    assert code == 0, err
    return answer


def check(
    truth: dict[str, Any], folder: Path, what: str, moments: list[int], seconds: float = 0.4
) -> tuple[int, list[Any]]:
    """Disturbed once in each of these epochs, counted over all processes; extra epochs begun, notes of the trials."""
    sweep = Sweep(folder, seconds)
    answer = disturbed(sweep, what, moments)
    assert answer["states"] == truth["states"]
    # `seconds` is a key of the model and so of the plan, but it changes nothing of what is trained
    assert answer["outcome"] == truth["outcome"]
    extra = len(sweep.lines()) - WHOLE
    assert extra <= len(moments), sweep.lines()
    assert list((folder / "ray").glob("*")) == [] or what in ("command", "Ray's state", "gcs_server")
    return extra, answer["notes"]


@pytest.mark.ray
def test_the_command_is_killed_and_goes_on(truth: dict[str, Any], tmp_path: Path) -> None:
    _, notes = check(truth, tmp_path / "sweep", "command", [6])
    # Epoch 6 of all is the second of its trial; the worker may end it before it hears of its driver's end.
    assert notes in ([[], [f"it went on from epoch {epoch}"], []] for epoch in (1, 2))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("what", [what for what in CODES if what != "command"])
def test_a_part_is_killed_and_the_sweep_goes_on(
    what: str, truth: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    extra, notes = check(truth, tmp_path / "sweep", what, [6])
    if what not in ("raylet", "gcs_server"):  # trials may go on for a while when Ray's own processes have ended
        assert (notes[0], notes[2]) == ([], [])
        assert re.fullmatch(r"it went on from epoch [12]", notes[1][-1])
    record_property(f"a sweep whose {what} is hit ends as undisturbed", f"1 of 1, {extra} epochs trained twice")


@pytest.mark.ray
@pytest.mark.slow
def test_the_command_is_killed_again_and_again(
    truth: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    moments = sorted(random.Random(3).sample(range(1, WHOLE), 5))
    extra, _ = check(truth, tmp_path / "sweep", "command", moments)
    record_property("a sweep killed again and again ends as undisturbed", f"5 kills, {extra} epochs trained twice")


@pytest.mark.ray
@pytest.mark.slow
def test_the_command_is_killed_in_its_first_seconds(
    truth: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sweep = Sweep(tmp_path / "sweep", 0.0)
    for seconds in (0.5, 2.0, 4.0, 6.0, 8.0):
        sweep.start()
        time.sleep(seconds)
        assert sweep.process is not None
        sweep.process.kill()
        sweep.process.communicate()
    code, answer, err = sweep.run()
    assert code == 0, err
    assert answer["outcome"] == truth["outcome"]
    assert len(sweep.lines()) <= WHOLE + 5
    record_property("a sweep killed in its first seconds ends as undisturbed", "5 of 5 kills")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The record of the sweep on a disk of its own, of one megabyte."""
    place = tmp_path / "sweep" / "job"
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tidegate-test", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own needs the right to mount one")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow  # a disk that refuses the record ends a sweep in test_tune.py, always
@pytest.mark.ray
def test_a_disk_that_is_full_ends_the_command_and_loses_nothing(
    truth: dict[str, Any], small_disk: Path, record_property: Callable[[str, object], None]
) -> None:
    sweep = Sweep(small_disk.parent, 0.4)
    sweep.start()
    sweep.wait_for(6)  # the second epoch of the second trial
    with contextlib.suppress(OSError), open(small_disk / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    code, _, err = sweep.end()
    assert code not in (0, 130)
    assert err.count("\n") == 1, err
    assert "cannot be written: No space left on device" in err
    finished = (small_disk / "trial-000" / "trial.json").read_bytes()
    (small_disk / "ballast").unlink()
    code, answer, err = sweep.run()
    assert code == 0, err
    assert answer["outcome"] == truth["outcome"]
    assert (small_disk / "trial-000" / "trial.json").read_bytes() == finished
    rates = [float(rate) for rate, *_ in sweep.lines()]
    assert [rates.count(rate) for rate in (0.01, 0.03)] == [4, 4]  # neither a finished trial nor a new one twice
    extra = len(rates) - WHOLE
    assert extra <= 4
    record_property("a sweep whose disk is full ends as undisturbed", f"1 of 1, {extra} epochs trained twice")
