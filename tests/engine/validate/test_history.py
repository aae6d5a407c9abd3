from __future__ import annotations

from engine.records import Check, CheckOutcome, Severity, ValidationReport
from engine.validate.history import blocking, cost


def report(window: str, *blocks: str) -> ValidationReport:
    checks = tuple(
        Check(
            name=name,
            column="c" if name == "range" else "",
            severity=severity,
            outcome=CheckOutcome.VIOLATED,
            observed="",
            expected="",
            reason="",
        )
        for name, severity in [("order", Severity.WARN), *((block, Severity.BLOCK) for block in blocks)]
    )
    return ValidationReport(window=window, fingerprint="", n_rows=1, checks=checks)


def test_blocking_is_counted_with_what_it_cost() -> None:
    history = [report("a"), report("b", "ids"), report("c", "ids", "range"), report("d"), report("e", "ids")]
    found = blocking(history)
    assert (found.windows, found.blocked, found.share) == (5, ("b", "c", "e"), 0.6)
    assert found.by_check == {"ids": 3, "range c": 1}
    assert found.alone == {"ids": 2}
    assert (found.longest, found.now) == (2, 1)


def test_no_windows_were_not_blocked() -> None:
    found = blocking([])
    assert (found.share, found.longest, found.now, found.by_check) == (0.0, 0, 0, {})


def test_the_cost_is_a_sentence() -> None:
    history = [report("a"), report("b", "ids"), report("c", "ids", "range"), report("d"), report("e", "ids")]
    assert cost(blocking(history)) == (
        "Validation blocked 3 of 5 windows (60%), at most 2 in a row; the newest usable window is 1 window old. "
        "Blocked by: ids 3 (2 alone), range c 1 (0 alone)."
    )
    assert "the newest usable window is the newest one" in cost(blocking(history[:4]))
    assert cost(blocking(history[:1])) == "Validation blocked none of 1 window."
    many = cost(blocking([report("a", *"abcdefg")]))
    assert many.endswith("e 1 (0 alone) and 2 more.")
