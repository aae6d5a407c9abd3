"""One body of tests, every database: `url` names an empty one of each kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.promote import objects
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Outcome, Stage, StageChange, Verdict, to_plain
from tests.engine.promote import servers

if TYPE_CHECKING:
    from tests.engine.promote import buckets


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: servers.Server = request.getfixturevalue("postgresql")
    return server.database()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[buckets.Server]:
    from tests.engine.promote import buckets  # moto takes a second to import

    with buckets.serve() as server:
        yield server


@pytest.fixture
def s3(s3_server: buckets.Server, monkeypatch: pytest.MonkeyPatch) -> buckets.Server:
    """The server, and an environment that leads to it."""
    from tests.engine.promote import buckets

    for name, value in {**buckets.ENVIRONMENT, "AWS_ENDPOINT_URL": s3_server.url}.items():
        monkeypatch.setenv(name, value)
    if s3_server.filesystem is None:  # to open one takes as long as forty requests
        s3_server.filesystem = open_filesystem("s3://any-bucket")
        s3_server.filesystem.connect()
    monkeypatch.setattr(objects, "_open", lambda _url: s3_server.filesystem)
    monkeypatch.setattr(objects, "PAUSE", 0.02)
    s3_server.requests.clear()
    return s3_server


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of each kind may be."""
    return str(tmp_path / "artifacts") if request.param == "local" else request.getfixturevalue("s3").bucket()


@dataclass(frozen=True)
class Object:
    """One object of a bucket, with the methods of a Path that the tests use; past the code under test."""

    client: Any
    bucket: str
    key: str

    def read_bytes(self) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read())

    def write_bytes(self, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.key, Body=data)

    def unlink(self) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.key)


@pytest.fixture
def raw(request: pytest.FixtureRequest) -> Callable[[Store, str, str], Path | Object]:
    """The stored bytes themselves: raw(store, kind, name)."""

    def find(store: Store, kind: str, name: str) -> Path | Object:
        if "://" not in store.url:
            return store.root / kind / name
        bucket, _, key = store.place.where(kind, name).removeprefix("s3://").partition("/")
        return Object(request.getfixturevalue("s3").client(), bucket, key)

    return find


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that goes on by one minute at each look, from 2026-01-01 00:01 UTC."""
    minutes = itertools.count(1)
    return lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=next(minutes))


@pytest.fixture
def ledger(url: str, clock: Callable[[], datetime]) -> Iterator[Ledger]:
    with Ledger.open(url, "flights", now=clock) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


open_filesystem = objects._open  # for tests of opening itself

PATH = (None, Stage.CANDIDATE, Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)


def step(model: str, source: Stage | None, target: Stage, **fields: object) -> StageChange:
    """A change with an id that is unique as long as the model takes each step once."""
    values = {"id": f"{model[:8]}:{target.value}", "reason": "test", "window": "2026-01", **fields}
    return StageChange(model=model, source=source, target=target, **values)  # type: ignore[arg-type]


def judge(ledger: Ledger, model: str) -> None:
    """Append a PASS on a model."""
    verdict = Verdict(gate="offline", model=model, champion="", window="2026-01", outcome=Outcome.PASS, reason="test")
    ledger.append("verdict", f"{model[:8]}:verdict", to_plain(verdict))


def bring(ledger: Ledger, model: str, upto: Stage = Stage.PRODUCTION) -> StageChange:
    """Take a new model through the stages, one by one, on one PASS before the first step forward; the last change."""
    for source, target in itertools.pairwise(PATH):
        assert target is not None
        if source is Stage.CANDIDATE:
            judge(ledger, model)
        change = ledger.change(step(model, source, target))
        if target is upto:
            return change
    raise AssertionError(upto)


def make(store: Store, text: str) -> str:
    """An artifact; its id."""
    return store.put({"weights.safetensors": text.encode() * 100, "config.json": b"{}"}, {"name": text})
