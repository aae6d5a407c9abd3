"""gate and promote: verdicts, and how far up the stages they carry a challenger.

    candidate --offline gate--> staging --cold start--> preproduction --shadow windows--> production

Anything but PASS sends it aside. Each verdict is in the ledger before the change that it allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports
from engine.cycle.steps import Steps, evaluation_key, verdict_id
from engine.errors import ArtifactError
from engine.gate import RuleConf, judge, judge_look, judge_worn, untrained
from engine.records import Cycle, EvaluationReport, Look, Outcome, Stage, Verdict, digest, to_plain
from engine.scoring.scores import GREATER_IS_BETTER


class Promotion:
    """The gates of one loop."""

    def __init__(self, confs: Confs, ports: Ports, steps: Steps) -> None:
        self.confs, self.ports, self.steps = confs, ports, steps

    def production(self) -> str:
        """The model in production now; empty: none."""
        head = self.ports.ledger.head(Stage.PRODUCTION)
        return head.model if head is not None else ""

    def settle_shadow(self, cycle: Cycle, past: Past, mature: int) -> Cycle:
        """Judge a waiting challenger on the newest labelled window and those it was judged on before, joined.

        It moves on or out as soon as they decide, at the latest on window `promote.shadow_windows`. Each look has its
        own critical value (engine/gate/sequential.py), so looking again cannot make luck look like merit. A window
        that validation blocked is no look. While promotions are frozen it waits.
        """
        pending = past.pending
        made = past.candidate(pending) if pending and not past.frozen else None
        if made is None or mature <= self.steps.at(made.holdout_window):
            return cycle
        name = self.steps.names[mature]
        if name in past.blocked:
            return cycle
        earlier = past.looks(pending, self.steps.champion(cycle))
        seen = [verdict.window for verdict in earlier]
        if name in seen:
            return cycle
        known = [window for window in seen if window not in past.strange]
        report = self.steps.shadowed(cycle, pending, (*known, name), past.blocked)
        cycle, verdict = self._look(replace(cycle, shadow=report), report, earlier)
        if verdict.waiting:
            return cycle
        target = Stage.PRODUCTION if verdict.outcome is Outcome.PASS else Stage.RETIRED
        return self._move(cycle, pending, Stage.PREPRODUCTION, target, verdict)

    def _look(self, cycle: Cycle, report: EvaluationReport, earlier: Sequence[Verdict]) -> tuple[Cycle, Verdict]:
        """The shadow gate on the rows so far; where a person lowered the number of looks, this is the last one."""
        number, conf = len(earlier) + 1, self.confs.gate
        most = max(number, self.confs.promote.shadow_windows)
        if most == 1:
            return self._single(cycle, report, conf.shadow, "shadow")
        told = self._told("shadow", conf.shadow)
        look = Look(number=number, most=most, spending=conf.spending, futility=conf.futility)
        with self.ports.watch.lap("gate"):
            verdict = judge_look(report, conf.shadow, **told, look=look, earlier=earlier)
        told |= {"look": look, "earlier": [verdict_id(v) for v in earlier]}
        return self._record(cycle, report, conf.shadow, verdict, told)

    def gate(self, cycle: Cycle, past: Past) -> Cycle:
        """May the challenger pass to staging."""
        report, candidate = cycle.evaluation, cycle.candidate
        assert candidate is not None  # train() came before
        if report is None:
            verdict = untrained(candidate, champion=self.steps.champion(cycle), window=cycle.window)
            inputs = {"candidate": digest("candidate", candidate.decision), "champion": verdict.champion}
            return self.steps.verdict(cycle, verdict, inputs)[0]
        rules = self.confs.gate.rules
        wear = past.wear(report, cycle.index, self.steps.index_of, self.confs.gate)
        told = self._told("offline", rules) | {"wear": wear}
        with self.ports.watch.lap("gate"):
            verdict = judge_worn(report, rules, **told)
        return self._record(cycle, report, rules, verdict, told)[0]

    def promote(self, cycle: Cycle) -> Cycle:
        """candidate -> staging -> preproduction -> production, as far as the evidence of today carries."""
        verdict = cycle.verdicts[-1]
        model, champion = verdict.model, self.steps.champion(cycle)
        if not model:
            return cycle
        if verdict.outcome is not Outcome.PASS:
            return self._move(cycle, model, Stage.CANDIDATE, Stage.RETIRED, verdict)
        cycle = self._move(cycle, model, Stage.CANDIDATE, Stage.STAGING, verdict)
        if not _reached(cycle, model, Stage.STAGING):
            return cycle
        cycle, cold = self._cold(cycle, model)
        if cold.outcome is not Outcome.PASS:
            return self._move(cycle, model, Stage.STAGING, Stage.QUARANTINED, cold)
        cycle = self._move(cycle, model, Stage.STAGING, Stage.PREPRODUCTION, cold)
        if not _reached(cycle, model, Stage.PREPRODUCTION):
            return cycle
        if not champion:
            why = "first model of all: there is none to shadow"
            return self._move(cycle, model, Stage.PREPRODUCTION, Stage.PRODUCTION, cold, why)
        if self.confs.promote.shadow_windows == 0:
            why = "promote.shadow_windows=0: no shadow was asked for"
            return self._move(cycle, model, Stage.PREPRODUCTION, Stage.PRODUCTION, cold, why)
        return cycle

    def _cold(self, cycle: Cycle, model: str) -> tuple[Cycle, Verdict]:
        """Every byte and the signature are what they should be, and in a fresh process it predicts as recorded, answers
        bad requests with clear errors, and keeps its budgets.
        """
        asked = self._verdict("cold", model, cycle, Outcome.PASS, "promote.cold_check=false: not started")
        known = self.steps.recorded(Verdict, verdict_id(asked))
        if known is not None:
            return self.steps.verdict(cycle, known)
        try:
            self.ports.store.verify(model)
        except ArtifactError as error:
            return self.steps.verdict(cycle, replace(asked, outcome=Outcome.FAIL, reason=str(error)))
        if not self.confs.promote.cold_check:
            return self.steps.verdict(cycle, asked)
        rules = {"artifact": RuleConf(kind="answers"), **self.confs.gate.cold}
        return self._single(cycle, self.steps.started(cycle, model), rules, "cold")

    def _verdict(self, gate: str, model: str, cycle: Cycle, outcome: Outcome, reason: str) -> Verdict:
        champion = self.steps.champion(cycle)
        return Verdict(gate=gate, model=model, champion=champion, window=cycle.window, outcome=outcome, reason=reason)

    def _single(
        self, cycle: Cycle, report: EvaluationReport, rules: Mapping[str, RuleConf], gate: str
    ) -> tuple[Cycle, Verdict]:
        """A gate that looks once, at rows whose wear is not counted."""
        limit = self.confs.gate.max_holdout_uses
        told = self._told(gate, rules) | {"holdout_uses": 0, "max_holdout_uses": limit}
        with self.ports.watch.lap("gate"):
            verdict = judge(report, rules, **told)
        return self._record(cycle, report, rules, verdict, told)

    def _told(self, gate: str, rules: Mapping[str, RuleConf]) -> dict[str, Any]:
        """What every gate is told beside its report and rules."""
        metrics = [rule.metric for rule in rules.values() if rule.metric in GREATER_IS_BETTER]
        directions = {metric: GREATER_IS_BETTER[metric] for metric in metrics}
        return {"gate": gate, "greater_is_better": directions, "power": self.confs.gate.power}

    def _record(
        self,
        cycle: Cycle,
        report: EvaluationReport,
        rules: Mapping[str, RuleConf],
        verdict: Verdict,
        told: Mapping[str, Any],
    ) -> tuple[Cycle, Verdict]:
        """The verdict in the ledger, beside all that it was made from."""
        kind = verdict.gate if verdict.gate in ("shadow", "cold") else "evaluation"
        judged = digest(*evaluation_key(kind, report.model, report.champion, report.fingerprint))
        in_order = [{"name": name, **to_plain(rule)} for name, rule in rules.items()]  # the first one gives the reason
        return self.steps.verdict(cycle, verdict, {**told, "evaluation": judged, "rules": in_order})

    def _move(
        self, cycle: Cycle, model: str, source: Stage, target: Stage, verdict: Verdict, reason: str = ""
    ) -> Cycle:
        if target is Stage.PRODUCTION:
            self.ports.store.verify(model)
        said = reason or f"{verdict.gate} gate: {verdict.reason}"
        return self.steps.move(cycle, model, source, target, said, verdict_id(verdict))


def _reached(cycle: Cycle, model: str, stage: Stage) -> bool:
    """Did this cycle bring the model there: not where a person was faster."""
    return any(change.model == model and change.target is stage for change in cycle.changes)
