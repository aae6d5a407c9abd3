"""gate and promote: verdicts, and how far up the stages they carry a challenger.

    candidate --offline gate--> staging --cold start--> preproduction --shadow windows--> production

Anything but PASS sends it aside. Each verdict is in the ledger before the change that it allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import ArtifactError
from engine.gate import RuleConf, judge, untrained
from engine.past import Past
from engine.records import Cycle, EvaluationReport, Outcome, Stage, Verdict, digest, to_plain
from engine.scores import GREATER_IS_BETTER
from engine.setting import Confs, Ports
from engine.steps import Steps, evaluation_key, verdict_id


class Promotion:
    """The gates of one loop."""

    def __init__(self, confs: Confs, ports: Ports, steps: Steps) -> None:
        self.confs, self.ports, self.steps = confs, ports, steps

    def production(self) -> str:
        """The model in production now; empty: none."""
        head = self.ports.ledger.head(Stage.PRODUCTION)
        return head.model if head is not None else ""

    def settle_shadow(self, cycle: Cycle, past: Past, mature: int) -> Cycle:
        """Judge a waiting challenger on the newest labelled window, and move it on or out.

        Every shadow window must be passed and each is looked at once, so looking again cannot make luck look like
        merit. While promotions are frozen it waits.
        """
        pending = past.pending
        made = past.candidate(pending) if pending and not past.frozen else None
        if made is None or mature <= self.steps.at(made.holdout_window):
            return cycle
        name = self.steps.names[mature]
        if name in past.blocked:
            return cycle
        window = self.steps.read(name, labelled=True)
        report = self.steps.judged(cycle, "shadow", pending, window, past.blocked)
        cycle, verdict = self._judge(replace(cycle, shadow=report), report, self.confs.gate.shadow, "shadow")
        if verdict.outcome is not Outcome.PASS:
            return self._move(cycle, pending, Stage.PREPRODUCTION, Stage.RETIRED, verdict)
        earlier = sum(v.gate == "shadow" and v.outcome is Outcome.PASS for v in past.verdicts(pending))
        if earlier + 1 < self.confs.promote.shadow_windows:
            return cycle
        return self._move(cycle, pending, Stage.PREPRODUCTION, Stage.PRODUCTION, verdict)

    def gate(self, cycle: Cycle, past: Past) -> Cycle:
        """May the challenger pass to staging."""
        report, candidate = cycle.evaluation, cycle.candidate
        assert candidate is not None  # train() came before
        if report is None:
            verdict = untrained(candidate, champion=self.steps.champion(cycle), window=cycle.window)
            inputs = {"candidate": digest("candidate", candidate.decision), "champion": verdict.champion}
            return self.steps.verdict(cycle, verdict, inputs)[0]
        uses = past.holdout_uses(report.fingerprint)
        cycle, _ = self._judge(cycle, report, self.confs.gate.rules, "offline", uses=uses)
        return cycle

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
        return self._judge(cycle, self.steps.started(cycle, model), rules, "cold")

    def _verdict(self, gate: str, model: str, cycle: Cycle, outcome: Outcome, reason: str) -> Verdict:
        champion = self.steps.champion(cycle)
        return Verdict(gate=gate, model=model, champion=champion, window=cycle.window, outcome=outcome, reason=reason)

    def _judge(
        self,
        cycle: Cycle,
        report: EvaluationReport,
        rules: Mapping[str, RuleConf],
        gate: str,
        *,
        uses: int = 0,
    ) -> tuple[Cycle, Verdict]:
        directions = {r.metric: GREATER_IS_BETTER[r.metric] for r in rules.values() if r.metric in GREATER_IS_BETTER}
        told: dict[str, Any] = {
            "gate": gate,
            "greater_is_better": directions,
            "holdout_uses": uses,
            "max_holdout_uses": self.confs.gate.max_holdout_uses,
            "power": self.confs.gate.power,
        }
        with self.ports.watch.lap("gate"):
            verdict = judge(report, rules, **told)
        kind = gate if gate in ("shadow", "cold") else "evaluation"
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
