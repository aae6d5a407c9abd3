from __future__ import annotations

import dataclasses
import math

import pytest

from engine.records import Money, Outcome, RuleResult, Wear
from engine.report import words
from tests.engine.report.fixtures import FIRST, PRIMARY, SECOND, WINDOWS, drift, estimate, validation, year

NAN = math.nan
CYCLES = year()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.7153, "0.715"),
        (0.00421, "0.00421"),
        (-0.5, "-0.500"),
        (3.14159, "3.14"),
        (42.195, "42.2"),
        (123.4, "123"),
        (1234567.0, "1,234,567"),
        (NAN, "undecidable"),
        (math.inf, "infinite"),
        (-math.inf, "-infinite"),
        (1e-12, "1.00e-12"),
        (-0.00003, "-3.00e-05"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "half", "extra", "text"),
    [
        (0.7154, 0.007, 0, "0.715 [0.708, 0.722]"),
        (0.0021, 0.004, 1, "0.0021 [-0.0019, 0.0061]"),
        (22.31, 0.42, 0, "22.3 [21.9, 22.7]"),
        (5120.0, 130.0, 0, "5,120 [4,990, 5,250]"),
        (0.66, 0.045, 0, "0.660 [0.615, 0.705]"),
        (0.5, 0.0, 0, "0.500 [0.500, 0.500]"),
        (0.5, NAN, 0, "0.500 [undecidable]"),
        (NAN, NAN, 0, "undecidable"),
    ],
)
def test_interval_has_decimals_fit_for_its_width(value: float, half: float, extra: int, text: str) -> None:
    assert words.interval(estimate(PRIMARY, value, half), extra=extra) == text


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (410.4, 120.2, "410 +-120 EUR"),
        (3.456, 0.1, "3.46 +-0.10 EUR"),
        (95.0, NAN, "95 EUR"),
        (0.0, 1206.3, "0 +-1,206 EUR"),
        (NAN, 1.0, "undecidable EUR"),
    ],
)
def test_money(mean: float, std: float, text: str) -> None:
    shown = words.money(Money(mean=mean, std=std), "EUR")
    assert shown == (text if not math.isnan(mean) else "undecidable")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.314, "0.31 s"), (12.49, "12.5 s"), (59.96, "1 min 00 s"), (185.0, "3 min 05 s"),
     (7800.0, "2 h 10 min"), (NAN, "undecidable")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.048, "4.8 %"), (0.5, "50 %"), (1.0, "100 %"), (NAN, "undecidable")],
)
def test_percent(share: float, text: str) -> None:
    assert words.percent(share) == text


def test_pvalue_is_never_zero() -> None:
    assert words.pvalue(0.0) == "< 0.0001"
    assert words.pvalue(0.0312) == "0.0312"
    assert words.pvalue(NAN) == "undecidable"


def test_clean_leaves_nothing_that_drives_a_terminal() -> None:
    assert words.clean("a\x1b[31mb\r\nc\u202ed\x07") == "a [31mb  c d "


def test_drift_counts_the_undecidable() -> None:
    report = drift(WINDOWS[4], 4)
    assert words.drift(report) == f"{len(report.drifted)}/20 ?1 {report.drifted[0].column}"


def test_checks() -> None:
    assert words.checks(validation("w", 10)) == "ok"
    assert words.checks(validation("w", 10, warn=True)) == "1 warn"


def test_standing_is_realised_performance_or_the_founding_evaluation() -> None:
    founding, unlabelled, later = CYCLES[0], CYCLES[1], CYCLES[2]
    found = words.standing(founding, PRIMARY)
    assert found is not None
    assert found[0].value == 0.72
    assert found[1] == WINDOWS[0]
    assert words.standing(unlabelled, PRIMARY) is None
    measured = words.standing(later, PRIMARY)
    assert measured is not None
    assert measured[1] == WINDOWS[1]
    assert words.standing(later, "absent") is None


def test_standing_is_nothing_where_the_founder_was_refused() -> None:
    refused = dataclasses.replace(CYCLES[0], champion_after="")
    assert words.standing(refused, PRIMARY) is None


def test_worst_outcome() -> None:
    assert words.worst(()) is None
    assert words.worst(CYCLES[0].verdicts) is Outcome.PASS
    assert words.worst(CYCLES[5].verdicts) is Outcome.FAIL
    assert words.worst(CYCLES[7].verdicts) is Outcome.INCONCLUSIVE
    assert words.worst((*CYCLES[7].verdicts, *CYCLES[5].verdicts)) is Outcome.FAIL


def test_moves_names_production_first() -> None:
    assert words.moves(CYCLES[3]) == f"{SECOND[:8]} production, {FIRST[:8]} retired"
    assert words.moves(CYCLES[1]) == "-"


@pytest.mark.parametrize(
    ("n", "text"), [(0, "-"), (7, "7"), (76, "76"), (1_049, "1,000"), (76_157, "76,000"), (996_000, "1,000,000")]
)
def test_a_count_that_is_an_estimate_is_told_to_two_digits(n: int, text: str) -> None:
    assert words.about(n) == text


@pytest.mark.parametrize(("value", "text"), [(0.6, "0.6"), (-0.005, "-0.005"), (0.0, "0"), (NAN, "undecidable")])
def test_a_bound_reads_as_it_was_configured(value: float, text: str) -> None:
    assert words.threshold(value) == text


def test_what_is_small_is_not_told_as_nothing() -> None:
    assert words.amount(0.001, "EUR") == "< 0.01 EUR"
    assert words.duration(0.001) == "< 0.01 s"
    assert words.percent(0.0001) == "< 0.1 %"


def test_whole_ids_are_cut_to_their_heads() -> None:
    assert words.brief(f"{FIRST} took its place") == "aaaaaaaa took its place"
    assert words.brief("a" * 63) == "a" * 63
    assert words.brief("are 1 windows old, not 11 windows") == "are 1 window old, not 11 windows"


@pytest.mark.parametrize(
    ("wear", "text"),
    [
        (None, "decided twice before"),
        (
            Wear(way="refuse", uses=2, limit=5, windows=3, rotate_in=4),
            "decided twice before, worn out in 4 more windows",
        ),
        (
            Wear(way="refuse", uses=2, limit=3, windows=3, rotate_in=0, fresh_rows=31_396),
            "decided twice before, worn out now, 31,396 fresh rows would do",
        ),
        (Wear(way="ladder", uses=2, limit=5, windows=3), "decided twice before"),
        (Wear(way="refuse", uses=0, limit=5, windows=1, rotate_in=4), "decided twice before"),
    ],
)
def test_wear_says_when_to_rotate(wear: Wear | None, text: str) -> None:
    verdict = dataclasses.replace(year()[7].verdicts[0], holdout_uses=2, wear=wear)
    assert words.worn(verdict) == text


def test_a_rule_that_compares_nothing_has_no_bound() -> None:
    asked = RuleResult(
        rule="artifact[empty]", outcome=Outcome.PASS, metric="", estimate=None, bound=math.nan, reason="256 answers"
    )
    assert words.bound(asked) == words.compared(asked) == words.NONE
    assert words.bound(dataclasses.replace(asked, bound=0.6)) == "0.6"
    assert words.bound(dataclasses.replace(asked, estimate=estimate(PRIMARY, 0.7, 0.01))) == words.UNDECIDABLE
