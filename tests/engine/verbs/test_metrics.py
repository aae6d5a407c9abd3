"""`tidegate metrics`: text for Prometheus, JSON for programs, from the ledger alone."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from engine.act import METRICS, metrics_of
from engine.config.habits import HELP
from engine.errors import ConfigError
from engine.verbs import watch
from tests.engine.world import LAST, Answer, World
from tests.patience import ENOUGH
from tests.ports import free_port


def test_it_prints_the_exposition_and_nothing_else(
    ended: tuple[World, Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended[0].run("metrics") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.endswith("# EOF\n")
    found = {one.name: one for family in parsed(out) for one in family.samples}
    assert found["tidegate_windows_total"].value == 6.0
    promoted = [one for f in parsed(out) for one in f.samples if one.name == "tidegate_promotions_total"]
    assert [(one.labels["route"], one.value) for one in promoted] == [("evidence", 2.0)]
    assert found["tidegate_champion"].labels == {
        "loop": "world", "window": LAST, "model": ended[1].value["champion"],
    }  # fmt: skip


def test_as_json_it_has_the_names_that_rules_use(ended: tuple[World, Answer]) -> None:
    world = ended[0]
    answer = world.ask("metrics")
    assert answer.code == 0
    cycle = world.cycles()[LAST]
    assert answer.value["window"] == LAST
    assert set(answer.value["metrics"]) == set(metrics_of(cycle))
    named = {measure["estimate"]["name"]: measure for measure in answer.value["lasting"]}
    seqs = {row.seq: row for row in world.rows()}
    assert {seqs[seq].kind for seq in named["gate_pass_rate"]["rows"]} == {"verdict"}
    assert named["drift_to_promotion_windows"]["unit"] == "windows"


def test_looking_makes_no_ledger(fresh: World, line: Callable[[], str]) -> None:
    assert fresh.run("metrics") == 2
    assert "there is no ledger - run `tidegate loop` first" in line()
    assert not fresh.out.exists()


def test_a_watch_serves_them_for_as_long_as_it_lives(grown: World) -> None:
    port = free_port()
    config, composer = grown.config(
        "watch.every=1s", "watch.settle=0s", "watch.grace=0s", "watch.until=2026-05", f"watch.metrics_port={port}",
        "decide=never",
    )  # fmt: skip
    seen = list[str]()

    def say(event: dict[str, Any]) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ENOUGH) as answer:
            seen.append(answer.read().decode())

    watch.watch(config, composer, quiet=True, say=say)
    assert 'window="2026-04"' in seen[0]
    assert 'window="2026-05"' in seen[-1]
    found = grown.cycles()["2026-05"].pipeline
    assert found is not None
    assert 0 <= found.queue_seconds < 3600  # a watch saw it land
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", port)) != 0


def test_a_watch_whose_port_is_taken_says_so_and_does_nothing(grown: World) -> None:
    before = len(grown.rows())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config, composer = grown.config(f"watch.metrics_port={taken.getsockname()[1]}", "watch.idle_exit=0s")
        with pytest.raises(ConfigError, match=r"watch\.metrics_port: 127\.0\.0\.1:\d+ cannot be served"):
            watch.watch(config, composer, quiet=True)
    assert len(grown.rows()) == before


def test_the_help_names_what_there_is() -> None:
    told = HELP["metrics"].split("may use:")[1].split("A number")[0]
    names = set()
    for line in filter(None, map(str.strip, told.splitlines())):
        family, _, rest = re.split(r"\s{2,}", line)[0].removesuffix(" ...").partition(".")
        names |= {f"{family}.{name.removeprefix('.')}" for name in rest.split(", ")}
    assert len(names) == 28
    assert {name for name in names if name not in METRICS and not name.endswith(".<stage>")} == set()
