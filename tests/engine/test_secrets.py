"""No secret is written: planted wherever people keep them, looked for in every byte that a command leaves or says."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.engine.world import World
from tests.patience import ENOUGH

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "WANDB_API_KEY": "c" * 24 + "canary0wandb0000",
    "AWS_SECRET_ACCESS_KEY": "canary1aws/secret+key",
    "AWS_SESSION_TOKEN": "canary2session-token",
    "PGPASSWORD": "canary3-pg-password",
    "MY_SERVICE_TOKEN": "canary4-service-token",
    "HF_TOKEN": "canary5-hugging-face",
}
CANARIES = {
    **{f"environment {name}": value for name, value in ENVIRONMENT.items()},
    "password of a ledger URL": "canary6-ledger",
    "password of a URL, not escaped": "canary7/with@sign",
    "query field of a URL": "canary8-query",
    "path of a webhook": "canary9-webhook",
    "bearer token in a header": "canary10-bearer",
    "key of S3 in a URL": "canary11-s3",
    "key of a config named secret": "canary12-config",
    "token in a reason": "canary13-reason",
}
RUNBOOK = (
    "see https://me:canary7/with@sign@wiki/x?token=canary8-query or https://hooks.slack.com/services/T0/B0/canary9-webhook"
    " with Authorization: Bearer canary10-bearer"
)
CONFIG = f"""\
# @package _global_
defaults: [plain]
act:
  rules:
    seen: {{metric: data.rows, when: ">", threshold: 0, owner: "${{oc.env:MY_SERVICE_TOKEN}}", runbook: "{RUNBOOK}"}}
    told:
      {{metric: data.rows, threshold: 0, owner: "${{oc.env:PGPASSWORD}}", runbook: "secret=canary12-config"}}
track: {{kind: wandb, mode: offline}}
data: {{prepare: "make data AWS_SECRET_ACCESS_KEY=canary1aws/secret+key"}}
"""


@pytest.fixture
def planted(fresh: World, tmp_path: Path) -> World:
    """The small world with a secret in every place that takes a text."""
    conf = tmp_path / "conf"
    shutil.copytree(fresh.folder / "conf", conf)
    (conf / "experiment" / "world.yaml").rename(conf / "experiment" / "plain.yaml")
    (conf / "experiment" / "world.yaml").write_text(CONFIG)
    return World(tmp_path, fresh.out)


def say(world: World, *words: str) -> tuple[int, str]:
    """A whole command with the secrets in its environment: exit code, and all that it said."""
    command = [
        sys.executable,
        "-m",
        "engine.cli",
        *words,
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=ENOUGH
    )
    return done.returncode, done.stdout + done.stderr


def leaks(said: str, folder: Path) -> list[str]:
    """Which canaries are found in the words, or in any byte below the folder, also under a usual encoding."""
    texts = {"output": said.encode()} | {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    found = []
    for name, canary in CANARIES.items():
        encoded = (canary, quote(canary, safe=""), base64.b64encode(canary.encode()).decode().rstrip("="), canary[::-1])
        found += [f"{name} in {place}" for place, data in texts.items() if any(e.encode() in data for e in encoded)]
    return found


def test_no_secret_is_written(
    planted: World, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A loop that succeeds; then what fails, looks and moves."""
    code, said = say(planted, *planted.words("loop", "loop.until=2026-02", "--json"))
    assert code == 0, said
    assert (planted.out / "report.html").exists()
    assert list((planted.out / "wandb").glob("offline-run-*")), "the tracker has written"
    failing = [
        ("history", "promote.ledger=postgresql+psycopg://me:canary6-ledger@127.0.0.1:1/db"),
        ("loop", "promote.ledger=postgresql+psycopg://me:canary7/with@sign@127.0.0.1:1/db"),
        ("validate", "data.path=s3://AKIAABCDEFGHIJKLMNOP:canary11-s3@nowhere/x?region=none&token=canary8-query"),
        ("drift", "reference=https://me:canary11-s3@host/a.csv", "live=https://me:canary11-s3@host/b.csv"),
        ("loop", "act.rules.seen.api_key=canary12-config"),
        ("loop", "train.lr=token=canary8-query"),
        ("rollback", "actor=ada", "reason='token=canary13-reason'"),
        ("promote", "artifact=x", "stage=production", "actor=ada", "reason='password=canary13-reason'"),
        ("history", "--json"),
        ("report",),
        ("doctor",),
    ]
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    failing = [("loop", "track.project=${oc.env:HF_TOKEN}"), ("history", "loop.name=${oc.env:PGPASSWORD}"), *failing]
    for verb, *words in failing:
        answer = planted.ask(verb, *words)
        said += answer.out + answer.err
    assert "***" in said
    assert leaks(said, planted.out) == []
    files = sum(path.is_file() for path in planted.out.rglob("*"))
    record_property(
        "secrets", f"0 of {len(CANARIES)} found in {files} files and the output of {1 + len(failing)} commands"
    )


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0\1" + base64.b64encode(b"canary3-pg-password"))
    assert leaks("hello canary13-reason", tmp_path) == [
        "environment PGPASSWORD in a",
        "token in a reason in output",
    ]
