"""The exposition: valid by prometheus-client's own parsers, in base units, and never a made-up zero."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed
from prometheus_client.parser import text_string_to_metric_families as parsed_by_a_node

from engine.act import METRICS, metrics_of
from engine.errors import LedgerError
from engine.pipeline import openmetrics
from engine.pipeline.openmetrics import HELP, Exposition, sample
from engine.promote.ledger import Ledger
from engine.records import Cycle, from_plain, to_plain
from tests.engine.cycles import cycle, measured, pipeline, verdict


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", "flights") as opened:
        yield opened


def tell(ledger: Ledger, told: Cycle) -> str:
    """The exposition after one cycle more."""
    ledger.append("cycle", f"cycle {told.window}", to_plain(told), window=told.window)
    return Exposition(ledger).text()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels but the loop's, which all have."""
    found = {}
    for family in parsed(text):
        for one in family.samples:
            labels = dict(one.labels)
            assert labels.pop("loop") == "flights"
            key = one.name, tuple(sorted(labels.items()))
            assert key not in found
            found[key] = one.value
    return found


def test_it_is_openmetrics_with_types_units_and_help(ledger: Ledger) -> None:
    text = tell(ledger, cycle(pipeline=pipeline()))
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
    families = list(parsed(text))
    assert {family.type for family in families} == {"gauge", "counter"}
    assert all(family.documentation and family.documentation[0] not in " ." for family in families)
    assert all(family.name.startswith("tidegate_") for family in families)
    assert all(family.name.endswith(f"_{family.unit}") for family in families if family.unit)
    units = {family.unit for family in families}
    assert units == {"", "seconds", "ratio", "windows"}


def test_every_metric_that_a_rule_may_name_is_told_once(ledger: Ledger) -> None:
    told = measured()
    found = samples(tell(ledger, told))
    numbers = metrics_of(told)
    assert set(numbers) >= METRICS
    named = {(one.name, tuple(sorted(one.labels.items()))) for n, v in numbers.items() for one in [sample(n, v, "EUR")]}
    assert len(named) == len(numbers)
    assert named <= set(found)


def test_a_node_reads_the_same_text(ledger: Ledger) -> None:
    text = tell(ledger, cycle(pipeline=pipeline()))
    plain = {(one.name, tuple(sorted(one.labels.items()))) for f in parsed_by_a_node(text) for one in f.samples}
    assert plain == {(one.name, tuple(sorted(one.labels.items()))) for f in parsed(text) for one in f.samples}


@pytest.mark.parametrize(
    ("name", "value", "told", "labels", "number"),
    [
        ("data.freshness_hours", 2.0, "tidegate_data_freshness_seconds", {}, 7200.0),
        ("pipeline.queue_seconds", 2.0, "tidegate_pipeline_queue_seconds", {}, 2.0),
        ("pipeline.drift_to_detection_hours.low", 0.5, "tidegate_pipeline_drift_to_detection_low_seconds", {}, 1800.0),
        ("pipeline.restore_windows.high", 3.0, "tidegate_pipeline_restore_high_windows", {}, 3.0),
        ("pipeline.failed_trials_share", 0.5, "tidegate_pipeline_failed_trials_ratio", {}, 0.5),
        ("pipeline.cost", 7.0, "tidegate_pipeline_cost", {"currency": "EUR"}, 7.0),
        (
            "pipeline.return_on_retraining.low",
            -7.0,
            "tidegate_pipeline_return_on_retraining_low",
            {"currency": "EUR"},
            -7.0,
        ),
        ("pipeline.seconds", 9.0, "tidegate_pipeline_seconds", {}, 9.0),
        ("pipeline.seconds.cold start", 9.0, "tidegate_pipeline_stage_seconds", {"stage": "cold start"}, 9.0),
        ("pipeline.rows_per_second.read", 9.0, "tidegate_pipeline_stage_rows_per_second", {"stage": "read"}, 9.0),
        ("model.log_loss.high", 0.4, "tidegate_model_score_high", {"metric": "log_loss"}, 0.4),
        ("risk.alarm", 1.0, "tidegate_risk_alarm", {}, 1.0),
    ],
)
def test_names_and_units(name: str, value: float, told: str, labels: dict[str, str], number: float) -> None:
    found = sample(name, value, "EUR")
    assert (found.name, found.labels, found.value) == (told, labels, number)


def test_every_number_has_its_words() -> None:
    assert {name.removesuffix(".low").removesuffix(".high") for name in METRICS} <= set(HELP)


def test_what_is_not_known_has_no_sample_and_what_is_undecidable_is_nan(ledger: Ledger) -> None:
    unknown = math.nan
    told = cycle(pipeline=pipeline(queue_seconds=unknown, gpu_hours=unknown, lasting=(), gain=None))
    assert told.monitor is not None
    told = replace(told, decision=replace(told.decision, waiting=replace(told.decision.waiting, mean=unknown)))  # type: ignore[type-var,union-attr]
    found = samples(tell(ledger, told))
    assert not [name for name, _ in found if "queue" in name or "gpu_seconds" in name or "return" in name]
    assert math.isnan(found["tidegate_decide_waiting", (("currency", "EUR"),)])


def test_it_is_the_newest_window_and_counts_all_of_them(ledger: Ledger) -> None:
    tell(ledger, cycle(window="w1", n_rows=5))
    ledger.append("verdict", "v1", to_plain(verdict()), window="w2")
    ledger.append("candidate", "k", to_plain(cycle().candidate), window="w2")
    ledger.append("action", "a", to_plain(cycle().actions[0]), window="w2")
    found = samples(tell(ledger, cycle(window="w2", n_rows=7)))
    assert found["tidegate_data_rows", ()] == 7.0
    assert found["tidegate_windows_total", ()] == 2.0
    assert found["tidegate_verdicts_total", (("gate", "offline"), ("outcome", "pass"))] == 1.0
    assert found["tidegate_trials_total", (("state", "failed"),)] == 1.0
    assert found["tidegate_alerts_total", (("rule", "r"), ("severity", "detected"))] == 1.0
    assert found["tidegate_champion", (("model", "m1"), ("window", "w2"))] == 1.0


def test_one_that_is_asked_again_reads_what_is_new(ledger: Ledger) -> None:
    shown = Exposition(ledger)
    assert samples(shown.text()) == {}
    for n, window in enumerate(("w1", "w2"), 1):
        told = cycle(window=window)
        ledger.append("cycle", window, to_plain(told), window=window)
        for _ in range(2):
            assert samples(shown.text())["tidegate_windows_total", ()] == float(n)
    assert shown.text() == Exposition(ledger).text()


def test_of_a_long_ledger_the_newest_cycle_alone_is_revived_also_where_it_cannot_be_read_at_first(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        ledger.append("cycle", f"c{n}", to_plain(cycle(window=f"w{n}", n_rows=n)), window=f"w{n}")
    asked = list[str]()

    def revive(cls: type[Cycle], plain: Any) -> Cycle:
        asked.append(plain["window"])
        if len(asked) == 1:
            raise LedgerError("the disk is away")
        return from_plain(cls, plain)

    monkeypatch.setattr(openmetrics, "from_plain", revive)
    shown = Exposition(ledger)
    with pytest.raises(LedgerError):
        shown.text()
    found = samples(shown.text())
    assert (asked, found["tidegate_windows_total", ()], found["tidegate_data_rows", ()]) == (["w4", "w4"], 5.0, 4.0)
    assert shown.text() == Exposition(ledger).text()


def test_many_ask_at_once(ledger: Ledger) -> None:
    shown = Exposition(ledger)
    for n in range(5):
        ledger.append("cycle", f"c{n}", to_plain(cycle(window=f"w{n}")), window=f"w{n}")
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: shown.text(), range(16)))
    assert len(set(texts)) == 1
    assert samples(texts[0])["tidegate_windows_total", ()] == 5.0


@pytest.mark.parametrize("name", ['w"1\\', "w\n1", "w{}=,1", "fenêtre"])
def test_a_strange_name_breaks_no_line(ledger: Ledger, name: str) -> None:
    ledger.append("cycle", "c", to_plain(cycle(window=name)), window="w")
    found: Any = {
        dict(labels)["window"] for key, labels in samples(Exposition(ledger).text()) if key.endswith("champion")
    }
    assert found == {name}


def test_a_secret_in_a_name_is_hidden(ledger: Ledger) -> None:
    secret = "postgresql://me:hunter2@db/x"
    ledger.append("cycle", "c", to_plain(cycle(window=secret)), window="w")
    assert "hunter2" not in Exposition(ledger).text()


def test_a_ledger_of_an_earlier_release_is_told_as_far_as_it_goes(ledger: Ledger) -> None:
    old = to_plain(cycle())
    del old["pipeline"]
    ledger.append("cycle", "c", old, window="w2")
    found = samples(Exposition(ledger).text())
    assert found["tidegate_pipeline_seconds", ()] == 31.0
    assert not [name for name, _ in found if "cost" in name]
