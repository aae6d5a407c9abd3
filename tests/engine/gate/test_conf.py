"""Every rule that makes no sense is refused in one line where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config.checks import check_gate
from engine.config.schema import compose_config
from engine.errors import ConfigError
from engine.gate import KINDS, GateConf, RuleConf, asked
from engine.gate.conf import METRICS, UNSET
from engine.records import AskedGap, AskedPerturbed, AskedSlice, Perturbation, from_plain, to_plain
from tests.engine.gate.made import AUC, COLD, LOSS, OFFLINE, RULES

PARITY = "demographic_parity_difference"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"kind": "roof"}, "gate.rules:kind: 'roof' is unknown - choose one of floor, superiority"),
        ({"kind": "floor", "threshold": 1.0}, "gate.rules:metric: floor has none - name a metric that evaluate"),
        ({"kind": "floor", "metric": AUC}, "gate.rules:threshold: floor needs one - set threshold"),
        ({"kind": "calibration"}, "gate.rules:threshold: calibration needs one - set threshold"),
        ({"kind": "calibration", "threshold": -0.1}, "gate.rules:threshold: -0.1 can never be met - choose 0 or"),
        (
            {"kind": "calibration", "metric": AUC, "threshold": 0.1},
            f"gate.rules:metric: '{AUC}' is none of calibration",
        ),
        (
            {"kind": "fairness", "threshold": 0.1},
            "gate.rules:slice: fairness needs one - name the column of",
        ),
        (
            {"kind": "fairness", "metric": "equal_opportunity", "slice": "a", "threshold": 0.1},
            f"gate.rules:metric: 'equal_opportunity' is none of fairness - choose one of {PARITY}",
        ),
        (
            {"kind": "fairness", "slice": ["a", "b"], "threshold": 0.1},
            "gate.rules:slice: fairness takes one column - make a rule for each column",
        ),
        ({"kind": "robustness", "metric": AUC}, "gate.rules:perturbation: robustness needs one - choose one of noise"),
        (
            {"kind": "robustness", "metric": AUC, "perturbation": "rain"},
            "gate.rules:perturbation: 'rain' is unknown - choose one of noise, missing, shifted",
        ),
        (
            {"kind": "robustness", "metric": AUC, "perturbation": "missing"},
            "gate.rules:columns: no column goes missing - name one: columns: [...]",
        ),
        (
            {"kind": "robustness", "metric": AUC, "perturbation": "noise", "scale": 0.0},
            "gate.rules:scale: 0.0 is no noise - choose more than 0",
        ),
        (
            {"kind": "robustness", "metric": AUC, "perturbation": "shifted", "shift": 2},
            "gate.rules:shift: 2 is no neighbour - choose -1 or 1",
        ),
        (
            {"kind": "robustness", "metric": AUC, "perturbation": "shifted", "columns": ["a"]},
            "gate.rules:columns: a shifted window has all of them - leave them out",
        ),
        ({"kind": "latency", "threshold": float("nan")}, "gate.rules:threshold: nan is no value - choose a finite"),
        (
            {"kind": "latency", "metric": "p50", "threshold": 1.0},
            "gate.rules:metric: 'p50' is none of latency - choose one of single_p99_ms, batch_p99_ms",
        ),
        ({"kind": "answers", "metric": AUC}, f"gate.rules:metric: '{AUC}' is none of answers - leave it out"),
        ({"kind": "floor", "metric": AUC, "threshold": 1, "slice": 3}, "gate.rules:slice: 3 names no column - write a"),
        ({"kind": "floor", "metric": AUC, "threshold": 1, "slice": []}, "gate.rules:slice: [] names no column - write"),
        (
            {"kind": "floor", "metric": AUC, "threshold": 1, "slice": ["a", "a"]},
            "gate.rules:slice: names a column twice - name it once",
        ),
        (
            {"kind": "floor", "metric": AUC, "threshold": 1, "pool": True},
            "gate.rules:pool: there are no levels - name a slice, or leave it out",
        ),
        (
            {"kind": "floor", "metric": AUC, "threshold": 1, "levels": ["a"]},
            "gate.rules:levels: there are no levels - name a slice, or leave it out",
        ),
    ],
)
def test_refusals(told: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        RuleConf(**told)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


ODD: dict[str, Any] = {
    "threshold": 0.5, "margin": 0.1, "slice": "a", "levels": ["x"], "pool": True, "perturbation": "noise",
    "columns": ["a"], "scale": 0.3, "shift": 1,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", UNSET)
def test_a_field_that_a_kind_does_not_have_is_refused(kind: str, key: str) -> None:
    """A margin beside a floor would look like a guard, and do nothing."""
    needed, allowed = KINDS[kind]
    if key in needed | allowed:
        return
    told = {name: ODD[name] for name in needed} | {key: ODD[key]}
    metric = {} if kind in METRICS else {"metric": AUC}
    with pytest.raises(ConfigError, match=rf"^gate\.rules:{key}: {kind} has none - leave it out"):
        RuleConf(kind=kind, **metric, **told)


@pytest.mark.parametrize("power", [0.0, 0.49, 1.0, float("nan")])
def test_a_power_that_nobody_plans_for_is_refused(power: float) -> None:
    with pytest.raises(ConfigError, match=r"^gate\.power: .* is no power to plan for - choose one from 0\.5"):
        GateConf(power=power)


@pytest.mark.parametrize("name", RULES)
def test_rules_come_back_from_the_ledger(name: str) -> None:
    """What is recorded as the inputs of a verdict gives the equal rule, for replay."""
    assert from_plain(RuleConf, to_plain(RULES[name])) == RULES[name]


def test_what_a_gate_asks_of_evaluate() -> None:
    found = asked([*OFFLINE.values(), *OFFLINE.values(), *COLD.values()], AUC)
    assert found.slices == (
        AskedSlice(columns=("shop",), metric=LOSS),
        AskedSlice(columns=("shop", "day"), metric=LOSS, pool=True),
    )
    assert [gap.metric for gap in found.gaps] == [
        PARITY,
        "equalized_odds_difference",
        "calibration_within_groups",
    ]
    assert found.gaps[0] == AskedGap(column="shop", metric=PARITY)
    assert found.perturbed == (
        AskedPerturbed(perturbation=Perturbation(kind="noise", scale=0.1), metric=AUC),
        AskedPerturbed(perturbation=Perturbation(kind="missing", columns=("age",)), metric=AUC),
        AskedPerturbed(perturbation=Perturbation(kind="shifted", shift=-1), metric=AUC),
    )


def test_the_option_with_every_kind_of_rule_can_be_chosen() -> None:
    """conf/gate/guarded.yaml composes on the flights, and none of its rules waits in vain."""
    config = compose_config(["experiment=flights", "gate=guarded"])
    check_gate(config.gate, config.promote, config.evaluate, config.need_data)
    kinds = {rule.kind for rules in (config.gate.rules, config.gate.cold) for rule in rules.values()}
    assert kinds == set(KINDS) - {"answers"}
    assert config.gate.rules["fair"].by == ("origin",)
    assert config.gate.shadow.keys() == {"holds"}  # of the binary gate, which it extends
