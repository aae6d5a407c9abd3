"""A name is no path: whatever stands where a name belongs, nothing outside the loop's own folder is written or read.

Every door that takes a name is tried with every vector, inside a sandbox whose every file is compared before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.explain import one_line
from engine.config.schema import check_name
from engine.data.sources import ParquetSource
from engine.data.tables import write_parquet
from engine.errors import InputError
from engine.promote.ledger import Ledger
from engine.promote.rollback import find_model, promote
from engine.promote.store import Store
from engine.records import Stage
from tests.engine.bad.corpus import fault_of
from tests.engine.tides import make_conf, make_window

UP = [
    "..",
    "../secret",
    "../../secret",
    "../" * 40 + "etc/passwd",
    "a/../../secret",
    "./../secret",
    "..//secret",
    "../",
]
UP += ["....//secret", "..;/secret", "../secret\0", "../secret\0.parquet", "a/../secret", "store/../../secret"]
ENCODED = [
    "%2e%2e%2fsecret",
    "%2e%2e/secret",
    "..%2fsecret",
    "%252e%252e%252fsecret",
    "..%c0%afsecret",
    "%00",
    "..%5csecret",
]
ENCODED += ["&#46;&#46;/secret", "\\u002e\\u002e/secret", "..%u2215secret", "%2e%2e%5csecret", "file%3A///secret"]
WINDOWS = [
    "..\\secret",
    "..\\..\\secret",
    "C:\\secret",
    "C:secret",
    "\\\\host\\share",
    "\\\\?\\C:\\x",
    "con",
    "NUL.txt",
    "a:stream",
]
WINDOWS += ["aux", "com1", "a.", "a "]
ABSOLUTE = [
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "~/secret",
    "~root/x",
    "/proc/self/environ",
    "/dev/null",
]
ABSOLUTE += ["/dev/stdin", "s3://bucket/secret", "http://127.0.0.1/x"]
ODD = [
    "",
    ".",
    "...",
    " ",
    "\n",
    "\0",
    "a\nb",
    "a\rb",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "x" * 300,
    "#",
    "?",
    "a#b",
    "a?b",
]
ODD += [
    "\uff0e\uff0e\uff0fsecret",
    "\u2025/secret",
    "..\u2215secret",
    "\u2024\u2024/secret",
    "a|b",
    "$(touch secret)",
    "`touch secret`",
]
ODD += ["${HOME}", "*", "[a-z]*", "{a,b}", "-rf", "--help"]
VECTORS = [*UP, *ENCODED, *WINDOWS, *ABSOLUTE, *ODD]


def everything(folder: Path) -> dict[str, bytes]:
    """Every file of the sandbox, but for the inside of a ledger, which a reader's lock may touch."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and "ledger.db" not in p.name}


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders down in a sandbox that holds a secret at every height."""
    place = tmp_path / "outer" / "loop"
    place.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "outer"):
        for name in ("secret", "secret.parquet", "secret.json"):
            (folder / name).write_text("nobody may read this")
    monkeypatch.chdir(place)
    return place


def test_no_name_leads_out(inside: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    write_parquet(make_window(1, 50).table, inside / "windows" / "w1.parquet")
    source = ParquetSource(make_conf(path=str(inside / "windows")))
    store = Store(inside / "store")
    artifact = store.put({"a": b"x"}, {})
    with Ledger.open(f"sqlite:///{inside}/ledger.db", "flights") as ledger:
        doors: dict[str, Callable[[str], Any]] = {
            "loop.name": lambda name: check_name(name, "loop"),
            "loop of a ledger": lambda name: Ledger.open(f"sqlite:///{inside}/ledger.db", name).close(),
            "window": lambda name: source.read(name, labelled=False),
            "artifact": lambda name: find_model(ledger, name),
            "promote artifact": lambda name: promote(
                ledger, store, model=name, target=Stage.PRODUCTION, reason="r", actor="a"
            ),
            "artifact of a store": store.verify,
            "file of an artifact": lambda name: store.read(artifact, name),
            "file put": lambda name: store.put({name: b"x"}, {}),
            "kind of a row": lambda name: ledger.append(name, f"id {name!r:.20}", {}),
        }
        before = everything(tmp_path)
        escaped = []
        for door, attempt in doors.items():
            for vector in VECTORS:
                try:
                    attempt(vector)
                except InputError as error:
                    said = str(error)
                except Exception as error:
                    said = one_line(error) or f"!{error!r}"
                else:
                    said = "" if vector in HARMLESS.get(door, ()) else "!accepted"
                if said and fault_of(said):
                    escaped.append(f"{door} {vector!r:.40}: {fault_of(said)}")
    assert not escaped, "\n".join(escaped)
    after = everything(tmp_path)
    assert {path: data for path, data in after.items() if "/loop/store/" not in path} == {
        path: data for path, data in before.items() if "/loop/store/" not in path
    }
    record_property("names and paths", f"0 escapes of {len(VECTORS)} vectors at {len(doors)} doors")


# One segment, and itself again as a path.
HARMLESS = dict.fromkeys(("loop.name", "loop of a ledger", "file put", "kind of a row"), ("-rf", "--help", "a."))


def test_there_are_enough_vectors() -> None:
    assert len(VECTORS) == len(set(VECTORS)) > 60
