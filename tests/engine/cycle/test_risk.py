"""The loop watches the risk of its champion over labelled windows, and its ledger is all that it remembers."""

from __future__ import annotations

from dataclasses import replace

from engine.act import metrics_of
from engine.cycle.loop import Loop
from engine.cycle.past import Past
from engine.promote.entries import inputs_id
from engine.records import RiskOutcome
from tests.engine.world import TURN, WINDOWS, Answer, World


def test_a_world_that_turns_round_raises_the_alarm_once_its_labels_are_in(ended: tuple[World, Answer]) -> None:
    found = {name: cycle.monitor.risk for name, cycle in ended[0].cycles().items() if cycle.monitor}
    first = next(iter(found.values()))
    assert first is not None
    assert (first.loss, first.unit, first.source_window) == ("brier", "row", "2026-02")
    alarms = {name: risk for name, risk in found.items() if risk and risk.since}
    assert alarms
    risk = alarms[min(alarms)]
    assert risk.outcome is RiskOutcome.ALARM
    assert risk.since == WINDOWS[TURN]
    assert min(alarms) == WINDOWS[TURN + 1]  # labels are a window late
    assert all(r is None or r.outcome is not RiskOutcome.ALARM for name, r in found.items() if name < min(alarms))
    assert risk.risk.n == 600 * len(risk.windows)
    assert metrics_of(ended[0].cycles()[min(alarms)])["risk.alarm"] == 1.0


def test_the_primary_metric_is_held_against_its_reference_and_a_retrain_is_weighed_because_of_it(
    ended: tuple[World, Answer],
) -> None:
    """The turn is an alarm once its labels are in: in the record, to rules, and in what the decision saw."""
    cycles = ended[0].cycles()
    found = {name: cycle.monitor.decay for name, cycle in cycles.items() if cycle.monitor}
    alarms = [name for name, decay in found.items() if decay and decay.since]
    assert min(alarms) == WINDOWS[TURN + 1]
    decay = found[min(alarms)]
    assert decay is not None
    assert (decay.metric, decay.source_window, decay.began) == ("roc_auc_score", "2026-02", WINDOWS[TURN])
    assert decay.outcome is RiskOutcome.ALARM
    assert (decay.point_value, decay.currency) == (100.0, "EUR")
    told = metrics_of(cycles[min(alarms)])
    assert (told["decay.alarm"], told["decay.points"]) == (1.0, decay.drop.value)
    assert told["decay.cost"] == decay.cost == 100.0 * decay.drop.value
    assert any(item.rule == "decay" for item in cycles[min(alarms)].actions)
    decision = cycles[min(alarms)].decision
    assert decision is not None
    assert "points below its reference are shown over 1 windows" in decision.reason
    inputs = {row.id: row.payload for row in ended[0].rows("inputs")}
    evidence = inputs[inputs_id(decision.id)]["evidence"]
    assert evidence["decayed"]["value"] == decay.drop.value
    assert evidence["decayed_at"] == TURN


def test_from_the_ledger_and_from_the_windows_again_it_is_the_same(old: World) -> None:
    """Each cycle went on from the record of the one before; here every labelled window enters again."""
    cycles = old.cycles()
    with old.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        seen = 0
        for cycle in cycles.values():
            if cycle.monitor is None or cycle.monitor.risk is None:
                continue
            past = Past(ports.ledger, cycle.window)
            made = past.candidate(cycle.monitor.model)
            assert made is not None
            labelled = steps.names[: steps.mature(cycle.index) + 1]
            model = steps.model(made.model)
            assert steps._risk.of(model, made, past, labelled) == cycle.monitor.risk
            assert steps._risk.decay(cycle.monitor, model, made, past, labelled) == cycle.monitor.decay
            bare = Past(ports.ledger, cycle.window)
            bare.rows = [row for row in past.rows if row.kind not in ("cycle", "shadow")]  # it knows nothing of them
            assert not bare.watched
            assert steps._risk.of(model, made, bare, labelled) == cycle.monitor.risk
            assert steps._risk.decay(cycle.monitor, model, made, bare, labelled) == cycle.monitor.decay
            seen += len(cycle.monitor.risk.windows)
        assert seen > 3


def test_other_settings_begin_anew_and_none_is_none(old: World) -> None:
    cycle = max((c for c in old.cycles().values() if c.monitor and c.monitor.risk), key=lambda c: c.index)
    assert cycle.monitor is not None
    assert cycle.monitor.risk is not None
    with old.opened("monitor.risk_tolerance=0.9") as (confs, ports):
        steps, past = Loop(confs, ports).steps, Past(ports.ledger, cycle.window)
        made = past.candidate(cycle.monitor.model)
        assert made is not None
        model, labelled = steps.model(made.model), steps.names[: steps.mature(cycle.index) + 1]
        found = steps._risk.of(model, made, past, labelled)
        assert found is not None
        assert found.tolerance == 0.9
        assert (found.outcome, found.windows) == (RiskOutcome.UNDECIDABLE, cycle.monitor.risk.windows)
        steps._risk.confs = replace(confs, monitor=replace(confs.monitor, risk_loss="none"))
        assert steps._risk.of(model, made, past, labelled) is None


def test_the_expected_risk_stands_beside_it_and_ends_with_what_it_takes_for_granted(
    ended: tuple[World, Answer],
) -> None:
    """Each window enters when it comes; once labels have shown that the world turned, nothing is said any more."""
    found = {name: cycle.monitor for name, cycle in ended[0].cycles().items() if cycle.monitor}
    first, second = (found[name].expected_risk for name in WINDOWS[2:4])
    assert first is not None
    assert second is not None
    assert (first.outcome, first.windows) == (RiskOutcome.NO_ALARM, (WINDOWS[2],))
    assert second.windows[0] == WINDOWS[2]
    assert first.bound == found[WINDOWS[2]].risk.bound  # type: ignore[union-attr]
    turned = found[WINDOWS[TURN + 1]].expected_risk
    assert turned is not None
    assert turned.outcome is RiskOutcome.UNDECIDABLE
    assert turned.reason == found[WINDOWS[TURN + 1]].estimated.reason  # type: ignore[union-attr]
    assert WINDOWS[TURN + 1] not in turned.windows
    seen = [monitor.expected_risk.windows for monitor in found.values() if monitor.expected_risk]
    assert all(len(set(windows)) == len(windows) for windows in seen)
