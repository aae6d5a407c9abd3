"""The batch script, run by bash with stand-ins for Slurm's programs; the slow one with a real Ray and a real sweep."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.cluster.conf import ClusterConf
from engine.cluster.request import make_request
from engine.cluster.slurm import script
from tests.engine.cluster.nodes import clean
from tests.engine.world import World
from tests.patience import ENOUGH, until
from tests.ports import free_port

SRUN = """\
#!/bin/bash
echo "srun $*" >> "$NOTES"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
NOTE = '#!/bin/bash\necho "%s $*" >> "$NOTES"\n'
RAY = """\
#!/bin/bash
echo "ray $*" >> "$NOTES"
echo "ray token ${#RAY_AUTH_TOKEN} ${RAY_AUTH_TOKEN:0:8} $RAY_AUTH_MODE loopback=$RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" \\
  >> "$NOTES"
[[ "$*" == *--head* ]] || exec sleep 600
port=$(sed 's/.*--port=\\([0-9]*\\).*/\\1/' <<< "$*")
ip=$(sed 's/.*--node-ip-address=\\([0-9.]*\\).*/\\1/' <<< "$*")
exec "$PYTHON" -c "
import socket, sys, time
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
time.sleep(600)" "$ip" "$port"
"""
TIDEGATE = """\
#!/bin/bash
trap 'sleep 0.2; echo "tidegate told" >> "$NOTES"; exit 130' TERM
echo "tidegate $* at $RAY_ADDRESS" >> "$NOTES"
until [ "$(grep -c "ray token" "$NOTES")" -ge "$RAYS" ]; do sleep 0.02; done  # or they would be killed first
[ -z "$CODE" ] || exit "$CODE"
while :; do sleep 0.05; done
"""


@dataclass
class Job:
    """A batch job as Slurm would start it."""

    folder: Path
    text: str
    nodes: int = 1

    def start(self, code: str = "") -> subprocess.Popen[bytes]:
        """Run the script; `code` is what the command ends with, empty: it runs until it is told."""
        bin_folder = self.folder / "bin"
        bin_folder.mkdir()
        programs = {"srun": SRUN, "ray": RAY, "tidegate": TIDEGATE, "scontrol": NOTE % "scontrol"}
        programs["getent"] = "#!/bin/bash\nprintf '127.0.1.1 STREAM x\\n127.0.0.1 STREAM x\\n127.0.0.1 DGRAM\\n' >&2\n"
        programs["getent"] += "echo '127.0.1.1 STREAM node1'; echo '0.0.0.0 STREAM node1'\n"
        for name, program in programs.items():
            (bin_folder / name).write_text(program)
            (bin_folder / name).chmod(0o755)
        (self.folder / "job.sh").write_text(self.text)
        environment = {
            **clean(),
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "NOTES": str(self.folder / "notes"),
            "PYTHON": sys.executable,
            "CODE": code,
            "RAYS": "2" if self.nodes > 1 else "1",
            **variables(self.nodes),
        }
        return subprocess.Popen(["bash", str(self.folder / "job.sh")], env=environment, cwd=self.folder)

    def notes(self) -> list[str]:
        """What the programs were called with, in order."""
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, word: str) -> None:
        """Until a program has said this."""
        until(lambda: any(word in line for line in self.notes()), self.notes)


JOB = str(free_port())  # the script takes the port of this number


def variables(nodes: int) -> dict[str, str]:
    """What Slurm tells a batch script."""
    return {"SLURM_JOB_ID": JOB, "SLURM_JOB_NUM_NODES": str(nodes), "SLURMD_NODENAME": "node1"}


def text_of(words: list[str] | None = None, **values: Any) -> str:
    """The script of a sweep."""
    request = make_request(
        "sweep", words or ["experiment=flights", "train.lr=choice(1, 2)"], [], "config", conf(**values)
    )
    return script(request)


def conf(**values: Any) -> ClusterConf:
    return ClusterConf(kind="slurm", **values)


@pytest.mark.parametrize(
    "values",
    [{}, {"nodes": 4, "gpus": 2, "partition": "gpu", "account": "ml", "env": {"A": "it's $x"}, "setup": ["true", ":"]}],
)
def test_bash_reads_it(values: dict[str, Any]) -> None:
    text = text_of(**values)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    header = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert text.splitlines()[1 : 1 + len(header)] == header  # sbatch stops reading them at the first command
    assert "#SBATCH --requeue" in header
    assert "#SBATCH --signal=B:USR1@180" in header
    assert f"#SBATCH --nodes={values.get('nodes', 1)}" in header
    assert ("#SBATCH --gpus-per-node=2" in header) is ("gpus" in values)
    assert "ray stop" not in text


def test_one_machine_stays_on_loopback_and_the_exit_code_is_handed_on(tmp_path: Path) -> None:
    job = Job(tmp_path, text_of(env={"A": "it's $x"}))
    assert job.start(code="3").wait(timeout=ENOUGH) == 3
    said = "\n".join(job.notes())
    port = 20_000 + int(variables(1)["SLURM_JOB_ID"]) % 20_000
    assert f"--head --node-ip-address=127.0.0.1 --port={port} --include-dashboard=false" in said
    assert said.count("srun ") == 1
    assert "tidegate sweep experiment=flights train.lr=choice(1, 2) cluster=ray cluster.address=null" in said
    assert f"at 127.0.0.1:{port}" in said
    assert "loopback=0" in said
    assert "scontrol" not in said


def test_the_machines_of_a_job_share_a_token_that_no_argument_shows(tmp_path: Path) -> None:
    job = Job(tmp_path, text_of(nodes=3, cpus=2, gpus=1), nodes=3)
    assert job.start(code="0").wait(timeout=ENOUGH) == 0
    said = "\n".join(job.notes())
    tokens = re.findall(r"ray token (\d+) (\w+) (\w+) loopback=(\S*)$", said, re.MULTILINE)
    assert len(tokens) == 2
    assert {(length, mode, loopback) for length, _, mode, loopback in tokens} == {("64", "token", "")}
    (token,) = {start for _, start, _, _ in tokens}
    assert said.count(token) == 2  # where the stand-in wrote it, and in no argument
    assert "--ntasks-per-node=1 --cpus-per-task=2 --kill-on-bad-exit=0 --nodes=2 --ntasks=2 --exclude=node1 ray" in said
    assert said.count("--num-cpus=2 --num-gpus=1") == 4


@pytest.mark.parametrize(("word", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_job_that_is_told_to_end_ends_its_command_first(tmp_path: Path, word: signal.Signals, again: bool) -> None:
    """When its time is up it queues itself again; when it is taken away Slurm does, by --requeue."""
    job = Job(tmp_path, text_of())
    process = job.start()
    job.wait_for("tidegate sweep")
    process.send_signal(word)
    assert process.wait(timeout=ENOUGH) == 130
    assert job.notes()[-2 if again else -1] == "tidegate told"
    assert (job.notes()[-1] == f"scontrol requeue {variables(1)['SLURM_JOB_ID']}") is again


@pytest.mark.slow
@pytest.mark.ray
def test_a_real_sweep_whose_time_is_up_goes_on_in_the_next_job(fresh: World) -> None:
    """Slurm's own programs are stand-ins; Ray, its token, the sweep, its interruption and what follows are real."""
    space = f"train.lr=choice({','.join(f'0.0{i}' for i in range(1, 7))})"
    words = [
        "experiment=world",
        f"out={fresh.out}",
        "search.backend=ray",
        "search.num_samples=6",
        "train.max_epochs=20",
    ]
    request = make_request("sweep", [*words, space], [f"file://{fresh.folder}/conf"], "config", conf(cpus=1))
    folder = fresh.out.parent
    (folder / "bin").mkdir()
    for name, program in (("srun", SRUN), ("scontrol", NOTE % "scontrol")):
        (folder / "bin" / name).write_text(program)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**clean(), **variables(1), "PATH": path, "NOTES": str(folder / "notes")}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["bash", "-c", script(request)], env=environment, cwd=folder)

    first = start()
    until(lambda: list(fresh.out.rglob("trial.json")))
    ended = list(fresh.out.rglob("trial.json"))
    first.send_signal(signal.SIGUSR1)
    assert first.wait(timeout=ENOUGH) == 130
    assert f"scontrol requeue {variables(1)['SLURM_JOB_ID']}" in (folder / "notes").read_text()
    written = {path: path.stat().st_mtime_ns for path in ended}
    assert 1 <= len(list(fresh.out.rglob("trial.json"))) < 6
    assert start().wait(timeout=600) == 0
    assert len(list(fresh.out.rglob("trial.json"))) == 6
    assert {path: path.stat().st_mtime_ns for path in ended} == written  # no trial that had ended ran again
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mentions(path, variables(1)["SLURM_JOB_ID"])]
    assert left == []  # the Rays ended with their jobs


def mentions(path: Path, job: str) -> bool:
    """Is this a process of the Ray of a job."""
    try:
        return f"/tmp/ray-{job}".encode() in path.read_bytes()
    except OSError:
        return False
