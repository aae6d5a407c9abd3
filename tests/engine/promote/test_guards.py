"""Every guard is attacked twice: where it stands no harm is done, where it is taken away harm is done.

An attack returns whether it did harm. A guard that is not missed by its attack would not be needed, or not be tested.
The guards of the order of stages are removed in test_state_machine.py, those of the disk in test_power_cut.py.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from engine.errors import TidegateError
from engine.promote import chain, database, entries, gc, stages, tables, transition
from engine.promote import ledger as ledger_module
from engine.promote.ledger import Ledger
from engine.promote.rollback import promote, rollback
from engine.promote.store import Store
from engine.records import Route, Stage
from tests.engine.promote.conftest import bring, make, step

Attack = Callable[[Path], bool]


@dataclass(frozen=True)
class Guard:
    """What stands where, what takes it away, and who comes when it is gone."""

    name: str
    owner: Any
    part: str
    without: Any
    attack: Attack


def opened(folder: Path, **more: Any) -> Ledger:
    return Ledger.open(f"sqlite:///{folder}/ledger.db", "flights", **more)


def succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except (TidegateError, sqlite3.Error):
        return False
    return True


def statement(folder: Path, *statements: str) -> None:
    """What somebody does who may write the file."""
    with sqlite3.connect(folder / "ledger.db") as connection:
        for name in ("tidegate_row_UPDATE", "tidegate_row_DELETE"):
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        for text in statements:
            connection.execute(text)
    connection.close()


def unseen(*statements: str) -> Attack:
    """Does `verify` call a ledger whole that was altered."""

    def attack(folder: Path) -> bool:
        with opened(folder) as ledger:
            bring(ledger, "a")
            ledger.append("decision", "d", {"value": 0.5, "reason": "so"})
        statement(folder, *statements)
        with opened(folder) as ledger:
            return succeeds(ledger.verify)

    return attack


def anonymous(folder: Path) -> bool:
    with opened(folder) as ledger:
        return succeeds(lambda: ledger.change(step("a", None, Stage.CANDIDATE, route=Route.MANUAL, actor="loop")))


def borrowed_evidence(folder: Path) -> bool:
    with opened(folder) as ledger:
        for name in ("a", "b"):
            ledger.change(step(name, None, Stage.CANDIDATE))
        ledger.append("verdict", "good", {"model": "a", "outcome": "pass"})
        return succeeds(lambda: ledger.change(step("b", Stage.CANDIDATE, Stage.STAGING, evidence="good")))


def rejected(folder: Path) -> bool:
    with opened(folder) as ledger:
        ledger.change(step("a", None, Stage.CANDIDATE))
        ledger.append("verdict", "bad", {"model": "a", "outcome": "inconclusive"})
        return succeeds(lambda: ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING)))


def unjudged(folder: Path) -> bool:
    with opened(folder) as ledger:
        ledger.change(step("a", None, Stage.CANDIDATE))
        return succeeds(lambda: ledger.change(step("a", Stage.CANDIDATE, Stage.STAGING)))


def clock_set_back(folder: Path) -> bool:
    moments = [datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=k) for k in range(9)]
    with opened(folder, now=iter(moments).__next__) as ledger:
        for k in range(3):
            ledger.append("decision", f"d{k}", {})
        return not succeeds(ledger.verify)


def stage_as_a_note(folder: Path) -> bool:
    payload = {"model": "a", "source": None, "target": "production"}
    with opened(folder) as ledger:
        return succeeds(lambda: ledger.append("stage", "x", payload))


def damaged(folder: Path) -> tuple[Ledger, Store, str]:
    """A champion whose predecessor's bytes are gone."""
    ledger, store = opened(folder), Store(folder / "store")
    old, new = make(store, "old"), make(store, "new")
    for model in (old, new):
        bring(ledger, model)
    sha = store.manifest(old)["files"]["weights.safetensors"]["sha256"]
    (folder / "store" / "blobs" / sha).unlink()
    return ledger, store, old


def back_to_a_damaged_model(folder: Path) -> bool:
    ledger, store, _ = damaged(folder)
    with ledger:
        return succeeds(lambda: rollback(ledger, store, reason="r", actor="anna"))


def damaged_model_by_hand(folder: Path) -> bool:
    ledger, store, old = damaged(folder)
    with ledger:
        order = {"model": old, "target": Stage.PRODUCTION, "reason": "r", "actor": "anna"}
        return succeeds(lambda: promote(ledger, store, **order))


def of_a_decision_under_way(folder: Path) -> bool:
    store = Store(folder / "store")
    young = make(store, "young")
    with opened(folder) as ledger:
        gc.collect([ledger], store)
    return young not in store.list()


def parent_of_a_champion(folder: Path) -> bool:
    store = Store(folder / "store")
    parent = make(store, "parent")
    child = store.put({}, {"parent": parent})
    with opened(folder) as ledger:
        bring(ledger, child)
        gc.collect([ledger], store, older_than=timedelta(0))
    return parent not in store.list()


def history_rewritten(folder: Path) -> bool:
    with opened(folder) as ledger:
        ledger.append("decision", "d", {"value": 0.5})
    with sqlite3.connect(folder / "ledger.db") as connection:
        done = succeeds(lambda: connection.execute("UPDATE tidegate_row SET payload = '{}'"))
    connection.close()
    return done


def from_the_future(folder: Path) -> bool:
    opened(folder).close()
    statement(folder, "UPDATE tidegate_schema SET version = 99")
    return succeeds(lambda: opened(folder).close())


def name_that_is_a_path(folder: Path) -> bool:
    return succeeds(lambda: Ledger.open(f"sqlite:///{folder}/ledger.db", "../x").close())


def on_nfs(folder: Path) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "file_system", lambda _path: "nfs4")
        return succeeds(lambda: opened(folder).close())


def wal_of_an_affected_build(folder: Path) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
        opened(folder).close()
    with sqlite3.connect(folder / "ledger.db") as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    return bool(mode == "wal")


def any_rows(rows: Any, _loop: str, _tip: object) -> Any:
    yield from rows


def any_version(connection: sa.Connection) -> int:
    """What `tables.version` says without its check."""
    if not sa.inspect(connection).has_table(tables.schema.name):
        return 0
    return int(connection.execute(sa.select(sa.func.max(tables.schema.c.version))).scalar_one())


GUARDS = [
    Guard("a manual change names a person", stages, "check_transition", lambda _: None, anonymous),
    Guard("evidence is about the model", transition, "_with_evidence", lambda _, change: change, borrowed_evidence),
    Guard("only a PASS opens", transition, "_with_evidence", lambda _, change: change, rejected),
    Guard("nothing goes forward unjudged", transition, "_with_evidence", lambda _, change: change, unjudged),
    Guard("time does not run back", entries, "max", lambda now, _: now, clock_set_back),
    Guard("stages change by change alone", ledger_module, "STAGE", "nothing", stage_as_a_note),
    Guard("rollback proves the bytes", Store, "verify", lambda *_: None, back_to_a_damaged_model),
    Guard("promotion proves the bytes", Store, "verify", lambda *_: None, damaged_model_by_hand),
    Guard(
        "gc keeps what is young", gc, "collect", partial(gc.collect, older_than=timedelta(0)), of_a_decision_under_way
    ),
    Guard("gc keeps what models mention", gc, "_closure", lambda store, named: named, parent_of_a_champion),
    Guard("rows are never updated", tables, "_REFUSE_SQLITE", "CREATE VIEW v{verb} AS SELECT 1", history_rewritten),
    Guard("newer schemas are refused", tables, "version", any_version, from_the_future),
    Guard("loops have names", ledger_module, "check_name", lambda *_: None, name_that_is_a_path),
    Guard("no network file system", database, "NETWORK_FILE_SYSTEMS", frozenset(), on_nfs),
    Guard("no WAL on affected builds", database, "journal", lambda _: ("wal", "full"), wal_of_an_affected_build),
    Guard(
        "payloads have one text",
        chain,
        "read_payload",
        json.loads,
        unseen("UPDATE tidegate_row SET payload = ' ' || payload WHERE id = 'd'"),
    ),
    Guard(
        "rows have their hash",
        chain,
        "_fault",
        lambda *_: "",
        unseen("UPDATE tidegate_row SET payload = replace(payload, '0.5', '0.6') WHERE id = 'd'"),
    ),
    Guard("the chain knows its end", chain, "check_chain", any_rows, unseen("DELETE FROM tidegate_row WHERE id = 'd'")),
    Guard(
        "heads follow from rows",
        Ledger,
        "_prove_heads",
        lambda *_: None,
        unseen("UPDATE tidegate_head SET model = 'b' WHERE stage = 'production'"),
    ),
]


@pytest.mark.parametrize("guard", GUARDS, ids=[guard.name for guard in GUARDS])
def test_where_the_guard_stands_no_harm_is_done(tmp_path: Path, guard: Guard) -> None:
    assert not guard.attack(tmp_path)


def test_without_it_there_is_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    missed = []
    for number, guard in enumerate(GUARDS):
        with monkeypatch.context() as patch:
            patch.setattr(guard.owner, guard.part, guard.without, raising=False)
            if guard.attack(tmp_path / str(number)):
                missed.append(guard.name)
    assert missed == [guard.name for guard in GUARDS]
    record_property("guards removed", f"{len(missed)} of {len(GUARDS)} let harm through once removed, 0 before")
