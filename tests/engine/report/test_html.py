from __future__ import annotations

import dataclasses
import math
import re
from html.parser import HTMLParser

import pytest

from engine.records import Cycle, DriftOutcome, FoundSlice, Outcome, RuleResult
from engine.records.plain import from_plain, to_plain
from engine.report import evidence
from engine.report.html import CHAPTERS, render, style_sheet
from engine.report.markup import VOID
from tests.engine.report.fixtures import FEATURES, PRIMARY, WINDOWS, cycle, year
from tests.engine.report.test_ledger import Row

CYCLES = year()
CONFIG = {"seed": 7, "ledger": {"url": "postgresql://me:hunter2@db/gate"}, "act": {"token": "hunter2"}}
WORDS_OF_NAN = re.compile(r"\b(nan|NaN|inf|Infinity|None)\b")


def page(cycles: tuple[Cycle, ...] = CYCLES, **more: object) -> str:
    return render(cycles, title="flights", primary=PRIMARY, config=CONFIG, **more)  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Checks that elements nest, and collects text, ids, links and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def test_it_is_one_file_that_asks_for_nothing() -> None:
    text = page()
    reader = Reader(text)
    assert set(reader.tags).isdisjoint({"script", "link", "img", "iframe", "object", "embed", "form", "base"})
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    assert all(value.startswith("#") for value in reader.values("href"))
    assert reader.values("src") == []
    assert "@import" not in text
    assert re.findall(r"url\((?!#hatch)", text) == []
    assert "https://" not in text
    assert "default-src 'none'" in reader.values("content")[-1]


def test_all_sections_are_there_and_all_anchors_lead_somewhere() -> None:
    reader = Reader(page())
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    assert set(CHAPTERS) <= set(ids)
    targets = [value[1:] for value in reader.values("href")]
    assert set(targets) <= set(ids)
    assert set(reader.values("aria-labelledby")) <= set(ids)
    fills = {f for f in reader.values("fill") if f.startswith("url")}
    assert {re.sub(r"url\(#(.*)\)", r"\1", f) for f in fills} <= set(ids)


def test_every_window_column_rule_and_model_is_told() -> None:
    text = " ".join(Reader(page()).words)
    for name in (*WINDOWS, *FEATURES, "superiority", "slice_guard", "cold_start", "aaaaaaaa", "dddddddd"):
        assert name in text, name
    for said in (
        "0.0020 [-0.0020, 0.0060]",
        "41,000",
        "410 \u00b1\u00a0137",
        "held its own in shadow",
        "the loss is not finite",
    ):
        assert said in text, said


def test_text_of_the_data_cannot_become_an_element() -> None:
    text = page()
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    evil = '"><script>alert(1)</script>'
    hostile = dataclasses.replace(CYCLES[2], window=evil, champion_after=evil)
    assert CYCLES[2].monitor is not None
    column = dataclasses.replace(CYCLES[2].monitor.baseline.columns[0], column=evil, reason=evil)
    report = dataclasses.replace(CYCLES[2].monitor.baseline, columns=(column,))
    hostile = dataclasses.replace(hostile, monitor=dataclasses.replace(CYCLES[2].monitor, baseline=report))
    made = render((hostile,), title=evil, primary=evil, config={evil: evil}, versions={evil: evil})
    assert "script" not in Reader(made).tags
    assert made.count("&lt;script&gt;") > 5


def test_undecidable_is_a_word_and_never_nan() -> None:
    reader = Reader(page())
    said = " ".join(reader.words)
    assert WORDS_OF_NAN.findall(said) == []
    assert "undecidable" in said
    assert [v for _, _, v in reader.attributes if WORDS_OF_NAN.search(v)] == []


def lost(value: object) -> object:
    """A plain record in which every float is null."""
    if isinstance(value, dict):
        return {key: lost(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [lost(inner) for inner in value]
    return None if isinstance(value, float) else value


def test_a_year_in_which_no_number_is_decidable_still_renders() -> None:
    plain = [to_plain(c) | {"timings": {}} for c in CYCLES]
    cycles = tuple(from_plain(Cycle, lost(p)) for p in plain)  # type: ignore[arg-type]
    assert math.isnan(cycles[2].candidate.cost)  # type: ignore[union-attr]
    reader = Reader(page(cycles))
    assert WORDS_OF_NAN.findall(" ".join(reader.words)) == []


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_first_windows_render_too(n: int) -> None:
    said = " ".join(Reader(page(CYCLES[:n])).words)
    assert ("No model is in production" in said) == (n == 0)
    assert "Provenance" in said


def test_secrets_are_hidden_and_the_rest_of_the_config_is_shown() -> None:
    text = page()
    assert "hunter2" not in text
    assert "postgresql://***@db/gate" in text
    assert "act.token" in text


def test_the_ledger_gives_times_changes_by_hand_and_its_end() -> None:
    by_hand = to_plain(CYCLES[3].changes[0]) | {"actor": "ada", "route": "manual", "reason": "asked by risk"}
    rows = [Row(1, "cycle"), Row(2, "stage", by_hand)]
    said = " ".join(Reader(page(ledger_rows=rows, versions={"torch": "2.13"})).words)
    for text in ("ada (manual)", "asked by risk", "2026-01-02 03:04:05", "9" * 64, "torch", "2.13"):
        assert text in said


def test_the_same_records_give_the_same_page() -> None:
    assert page() == page(year())


def test_lower_may_be_better() -> None:
    assert "lower is better" in page(greater_is_better=False)


def test_many_columns_and_windows_stay_readable() -> None:
    assert CYCLES[2].monitor is not None
    template = CYCLES[2].monitor.baseline
    columns = tuple(
        dataclasses.replace(template.columns[i % 20], column=f"column_{i}", outcome=DriftOutcome.NO_DRIFT)
        for i in range(100)
    )
    report = dataclasses.replace(template, columns=columns)
    monitor = dataclasses.replace(CYCLES[2].monitor, baseline=report, consecutive=None)
    cycles = tuple(
        dataclasses.replace(cycle(1 + i % 9), window=f"week-{i:03d}", index=i, monitor=monitor) for i in range(60)
    )
    text = page(cycles)
    assert "60 columns that moved less are not drawn" in text
    assert len(text) < 4_000_000
    Reader(text)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_have_the_contrast_that_wcag_asks_for(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", style_sheet(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", blocks[scheme]))
    pairs = [
        (front, back)
        for back in ("card", "page")
        for front in ("ink", "soft", "champion", "pass", "fail", "open", "warn", "acting")
    ]
    for front, back in (*pairs, ("ink", "heat"), ("ink", "tint")):
        light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
        ratio = (light + 0.05) / (dark + 0.05)
        assert ratio >= (3.0 if back == "heat" else 4.5), (front, back, round(ratio, 2))


def test_every_class_of_the_page_is_in_the_style_sheet_or_carries_no_look() -> None:
    used = {c for value in Reader(page()).values("class") for c in value.split()}
    styled = set(re.findall(r"\.([a-z][a-z0-9-]*)", style_sheet()))
    silent = {"keep", "candidate", "staging", "preproduction", "retired", "stopped", "none", "info", "bar",
              "ink", "small"}  # fmt: skip
    assert used - styled - silent == set()


def test_the_same_broken_check_is_one_row_however_often_it_broke() -> None:
    cycles = tuple(dataclasses.replace(c, validation=CYCLES[3].validation) for c in CYCLES)
    text = page(cycles)
    assert text.count("more values are missing than in the reference") == 1
    assert "10 of 10" in text
    assert "newest 2013-10" in text


def test_a_refused_founder_is_drawn_as_a_challenger_and_no_empty_column_in_the_heat_map() -> None:
    refused = dataclasses.replace(CYCLES[0], champion_after="", changes=(), verdicts=CYCLES[5].verdicts)
    text = page((refused, *CYCLES[1:]))
    assert "2013-01: aaaaaaaa (challenger, fail) 0.720" in text
    heat = text[text.index('id="drift"') : text.index('id="decisions"')]
    assert ">2013-01</text>" not in heat
    assert ">2013-02</text>" in heat


def test_a_verdict_names_the_rows_it_was_reached_on() -> None:
    elsewhere = dataclasses.replace(CYCLES[7].verdicts[0], window="2013-07")
    text = page((dataclasses.replace(CYCLES[7], verdicts=(elsewhere,)),))
    assert ", on rows of 2013-07, which had decided once before" in text


def test_small_stages_of_the_pipeline_are_drawn_as_one() -> None:
    spent = {f"stage_{i}": float(i) for i in range(1, 15)}
    text = page((dataclasses.replace(CYCLES[1], timings=spent),))
    assert "the rest: 21.0 s (20 %)" in text
    assert "stage_14: 14.0 s (13 %)" in text
    assert "stage_6:" not in text


def test_the_founder_measured_twice_on_the_same_rows_is_one_point() -> None:
    text = page(CYCLES[:3])
    assert len(re.findall(r"2013-01: aaaaaaaa \(in production\)", text)) == 1


def test_slices_that_nobody_declared_are_shown_with_what_was_looked_through() -> None:
    effect = dataclasses.replace(CYCLES[7].evaluation.metrics[0], name="loss", value=0.21, low=0.1, high=0.32, n=412)
    found = FoundSlice(by="regression", slice="hour > 17 and carrier = UA", effect=effect, mean=effect, pvalue=0.0004)
    for slices, text in (((found,), "hour &gt; 17 and carrier = UA"), ((), "none is seen to be worse than the rest")):
        evaluation = dataclasses.replace(CYCLES[7].evaluation, found=slices, searched=1234)
        page = str(evidence.gates([dataclasses.replace(CYCLES[7], evaluation=evaluation)]))
        assert "1,234 slices of one feature or two were looked through" in page
        assert text in page


def test_requests_to_the_artifact_are_folded_unless_one_went_wrong() -> None:
    """Fifteen of them a promotion, all alike: nobody should scroll past them to the gate that was not passed."""
    fine = RuleResult(
        rule="artifact[NaN]", outcome=Outcome.PASS, kind="answers", metric="", estimate=None, bound=math.nan, reason=""
    )
    broken = dataclasses.replace(fine, rule="artifact[0 rows]", outcome=Outcome.FAIL, reason="crashed: ValueError")
    for rules, folded in (((fine, fine), True), ((fine, broken), False)):
        verdict = dataclasses.replace(CYCLES[0].verdicts[1], rules=rules)
        shown = str(evidence.gates((dataclasses.replace(CYCLES[0], verdicts=(verdict,)),)))
        assert ("Each request and its answer" in shown) is folded
        assert "no number was compared" not in shown
        assert "artifact[NaN]" in shown
        assert ("crashed: ValueError" in shown) is not folded
