"""Long simulations go on where they were stopped, and only for the code that made the pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import proofs
from tests.proofs import FOLDER, code, gathered, pieces


class Counted:
    """What a proof computes, and which ranges it was asked for."""

    def __init__(self, most: int = 100) -> None:
        self.asked: list[range] = []
        self.most = most

    def __call__(self, part: range) -> list[int]:
        if len(self.asked) == self.most:
            raise KeyboardInterrupt
        self.asked.append(part)
        return [sum(part), len(part)]


def test_a_run_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    first, second, other = Counted(2), Counted(), Counted()
    with pytest.raises(KeyboardInterrupt):
        pieces(__file__, "a proof", 10, 4, first)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text() + '{"8-1')  # and died while it wrote
    assert pieces(__file__, "a proof", 10, 4, second) == [45, 10]
    assert second.asked == [range(8, 10)]
    assert pieces(__file__, "a proof", 10, 4, Counted(0)) == [45, 10]
    monkeypatch.setattr(proofs, "code", lambda proof, sources: "other")
    assert pieces(__file__, "a proof", 10, 4, other) == [45, 10]
    assert len(other.asked) == 3


def test_without_a_folder_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        made = Counted()
        assert pieces(__file__, "a proof", 10, 4, made) == [45, 10]
        assert len(made.asked) == 3
    assert not list(tmp_path.iterdir())


def test_what_was_gathered_is_the_same_whether_it_was_kept_or_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    asked: list[int] = []

    def made(part: range) -> list[list[float]]:
        asked.extend(part)
        return [[place / 3, -place] for place in part]

    expected = [[place / 3, -place] for place in range(5)]
    for _ in range(2):
        assert gathered(__file__, "a proof", 5, 2, made, ("tests/engine/backtest",)) == expected
    assert asked == [0, 1, 2, 3, 4]
    assert code(__file__, ("tests/engine/backtest",)) != code(__file__, ("tests/kernels",))
