"""An error of ours is one printable line, whatever stood in the file that it is about."""

from __future__ import annotations

import pickle

import pytest

from engine.errors import LONGEST, ConfigError, InputError, LedgerError, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two\nlines\tand  blanks ", "two lines and blanks"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\u202egpj.exe \ud800 \0", "\\u202egpj.exe \\ud800 \\x00"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, line: str) -> None:
    assert one_line(text) == line
    error = InputError(text, text, text)
    assert str(error) == f"{line}: {line} - {line}"
    assert (error.where, error.what, error.cure) == (line, line, line)


def test_what_is_long_loses_its_middle() -> None:
    line = one_line("begin" + "x" * 5000 + "end")
    assert len(line) == LONGEST
    assert line.startswith("beginxxx")
    assert line.endswith("xxxend")
    assert one_line("x" * LONGEST) == "x" * LONGEST


def test_an_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("train.lr", "is 0", "choose more")))
    assert isinstance(error, ConfigError)
    assert str(error) == "train.lr: is 0 - choose more"
    assert str(pickle.loads(pickle.dumps(LedgerError("row 3 is broken")))) == str(LedgerError("row 3 is broken"))


def test_a_broken_ledger_has_a_cure() -> None:
    assert str(LedgerError("row 3 is broken")) == "row 3 is broken - put a copy of the ledger back"
    assert str(LedgerError("id x is taken - use another id")) == "id x is taken - use another id"
