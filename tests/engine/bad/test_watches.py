"""What a watch may be told, find in its folder, or leave behind that is wrong: one line each, and it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.doctor.finding import State
from engine.doctor.watching import SIGN, watch
from engine.watch.conf import WatchConf
from tests.engine.bad.corpus import Case, fault_of, wrong
from tests.engine.bad.test_files import cut
from tests.engine.watch.test_watcher import NAMES as WINDOWS
from tests.engine.watch.test_watcher import founded

Record = Callable[[str, object], None]
DURATIONS = (
    "",
    " ",
    "s",
    "1",
    "1y",
    "-1s",
    "+1s",
    "1.5s",
    "1s 2s",
    "1 s",
    "nan s",
    "1e3s",
    "9999999d",
    "\u221es",
    "1S",
)
FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("every", "settle", "grace", "release", "idle_exit"), DURATIONS),
    "sequence": ("", "Auto", "none ", "daily", "auto,none", "\0"),
    "marker": ("", "/", "a/b", "../done", ".parquet", "_SUCCESS.parquet"),
}


def test_fields(record_property: Record) -> None:
    cases = [
        Case(f"watch.{key}={value!r}", lambda key=key, value=value: WatchConf(**{key: value}))
        for key, values in FIELDS.items()
        for value in values
    ]
    cases += [Case(f"watch.every={zero}", lambda zero=zero: WatchConf(every=zero)) for zero in ("0s", "0d", "000000w")]
    count, faults = wrong(cases)
    assert not faults, "\n".join(faults)
    record_property("bad input: fields of a watch", f"{count} of {count} one line")


NAMES = ("", "\0", "a\nb", "\x1b[2J", "\ud800", "\u202egpj", "x" * 5000, "\u200b", "a\tb", "\x7f")


def test_names_of_files_that_land(record_property: Record) -> None:
    """What no window can be called is said once, and hides no window beside it."""
    for name in NAMES:
        world = founded()
        world.put(name)
        world.put(WINDOWS[3])
        world.run(world.watcher(), 60)
        assert world.said("ignored") == [("ignored", "")], ascii(name)
        assert world.decided()[-1] == WINDOWS[3], ascii(name)
        (event,) = [event for event in world.events if event.what == "ignored"]
        assert not fault_of(event.text), ascii(name)
    record_property(
        "bad input: names of files that land", f"{len(NAMES)} of {len(NAMES)} one line, the next is decided"
    )


SIGNS: tuple[Any, ...] = (
    None, 7, [], "watching", {}, {"state": 1}, {"at": "yesterday"}, {"at": None}, {"at": "2026-01-01T00:00:00"},
    {"next": "soon"}, {"next": []}, {"next": None}, {"pid": None}, {"pid": []}, {"pid": "\0"}, {"pid": -1},
    {"pid": 10**40}, {"host": None}, {"host": {}}, {"error": {}}, {"waiting": "x" * 5000}, {"state": "\x1b[2J"},
)  # fmt: skip


def test_signs_of_life(tmp_path: Path, record_property: Record) -> None:
    """The doctor looks at what stands there, whatever that is."""
    good = {
        "state": "waiting",
        "error": "",
        "waiting": "",
        "at": "2026-01-01T00:00:00Z",
        "next": 60,
        "pid": 7,
        "host": "h",
    }
    (tmp_path / SIGN).write_text(json.dumps(good))
    texts = [json.dumps(good | sign if isinstance(sign, dict) and sign else sign).encode() for sign in SIGNS]
    texts += [data for _, data in cut((tmp_path / SIGN).read_bytes())] + [b"", b"\xff\xfe", b"[" * 100_000]
    for text in texts:
        (tmp_path / SIGN).write_bytes(text)
        (finding,) = watch(tmp_path)
        assert finding.state in (State.WARN, State.BAD), text[:80]
        assert len(f"{finding.found}{finding.cure}".splitlines()) == 1, text[:80]
    record_property("bad input: signs of life", f"{len(texts)} of {len(texts)} one finding")
