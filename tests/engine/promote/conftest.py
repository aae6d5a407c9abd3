"""One body of tests, every database: `url` names an empty one of each kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Stage, StageChange
from tests.engine.promote import servers


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: servers.Server = request.getfixturevalue("postgresql")
    return server.database()


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


PATH = (None, Stage.CANDIDATE, Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)


def step(model: str, source: Stage | None, target: Stage, **fields: object) -> StageChange:
    """A change with an id that is unique as long as the model takes each step once."""
    values = {"id": f"{model[:8]}:{target.value}", "reason": "test", "window": "2026-01", **fields}
    return StageChange(model=model, source=source, target=target, **values)  # type: ignore[arg-type]


def bring(ledger: Ledger, model: str, upto: Stage = Stage.PRODUCTION) -> StageChange:
    """Take a new model through the stages, one by one; the last change."""
    for source, target in itertools.pairwise(PATH):
        assert target is not None
        change = ledger.change(step(model, source, target))
        if target is upto:
            return change
    raise AssertionError(upto)


def make(store: Store, text: str) -> str:
    """An artifact; its id."""
    return store.put({"weights.safetensors": text.encode() * 100, "config.json": b"{}"}, {"name": text})
