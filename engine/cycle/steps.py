"""The words of the loop's sentence, each wired to its stage, its ledger record and its lap on the stopwatch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from engine import __version__
from engine.cycle import founding, outside
from engine.cycle.acting import Acting
from engine.cycle.maturity import Maturity
from engine.cycle.past import Past
from engine.cycle.recalibration import Recalibrator
from engine.cycle.risk import RiskWatch
from engine.cycle.setting import Confs, Ports
from engine.data.tables import join
from engine.decide import Evidence, decide
from engine.errors import ClassError, DataError, OvertakenError
from engine.gate import asked
from engine.models import challenger
from engine.models.challenger import Recipe, TrainingRows
from engine.models.predicted import Predicted
from engine.models.predictor import Predictor, load
from engine.monitor.report import Monitor
from engine.promote.entries import DECISION
from engine.records import (
    Action,
    Asked,
    Candidate,
    Cycle,
    Decision,
    EvaluationReport,
    Stage,
    StageChange,
    ValidationReport,
    Verdict,
    Window,
    digest,
    from_plain,
    to_plain,
)
from engine.records.cycle import STRANGE
from engine.scoring.scores import GREATER_IS_BETTER
from engine.validate.schema import Schema, infer, learn
from engine.validate.window import validate
from engine.watch.arrival import Known

T = TypeVar("T")
VALIDATION_ROWS = "the sweep's validation rows"


class Steps:
    """The steps of one loop."""

    def __init__(self, confs: Confs, ports: Ports) -> None:
        self.confs, self.ports = confs, ports
        arrivals = Known.in_book(ports.ledger.rows)
        self.names: list[str] = [name for name in ports.source.names() if name not in arrivals.left_out]
        self.late = arrivals.late  # trained on, and not decided on
        founding.check_names(self.names, confs.loop, confs.data)
        self.index_of = {name: i for i, name in enumerate(self.names)}
        data = confs.data
        self._monitor = Monitor(confs.monitor, confs.evaluate, data.numeric, data.categorical, data.label, data.kind)
        self._predict = Predicted()
        self._maturity = Maturity(confs, ports, self.model, self._predict)
        self._risk = RiskWatch(confs, ports, self.read, self._predict, self._maturity.mature)
        self._recalibrator = Recalibrator(confs, ports, self.read, self.model)
        self.acting = Acting(confs, ports, self.record)
        self._windows: dict[tuple[str, bool], Window] = {}
        self._models: dict[str, Predictor] = {}
        self._declared = founding.declared(confs.validate, confs.data)
        self._schema: Schema | None = None
        self._looks: dict[str, Schema] = {}

    # ---- what is remembered ---------------------------------------------------------------------------------------

    def recorded(self, cls: type[T], id: str) -> T | None:
        """The record with this id, if it was written before."""
        row = self.ports.ledger.find(id)
        return None if row is None else from_plain(cls, row.payload)

    def record(
        self,
        kind: str,
        id: str,
        value: T,
        cycle: Cycle,
        *,
        model: str = "",
        inputs: Mapping[str, Any] | None = None,
    ) -> T:
        """Write a record, once: the one that the ledger holds under this id, which counts from here on.

        It may be an earlier one: from before a kill, or of another process that was faster. `inputs` is what it was
        made from; engine/cycle/replay.py makes it again.
        """
        made_from = None if inputs is None else {**inputs, "version": __version__}
        with self.ports.watch.lap("ledger"):
            row = self.ports.ledger.append(
                kind, id, to_plain(value), window=cycle.window, model=model, inputs=made_from
            )
        return from_plain(type(value), row.payload)

    def once(self, cls: type[T], kind: str, key: tuple[str, ...], cycle: Cycle, model: str, make: Callable[[], T]) -> T:
        """The record of this step: found from before a kill, or made now."""
        id = digest(*key)
        value = self.recorded(cls, id)
        return self.record(kind, id, make(), cycle, model=model) if value is None else value

    def verdict(self, cycle: Cycle, verdict: Verdict, inputs: Mapping[str, Any] | None = None) -> tuple[Cycle, Verdict]:
        """The cycle with a verdict on one gate, pair of models and window; the recorded one, where there is one."""
        id = verdict_id(verdict)
        recorded = self.record("verdict", id, verdict, cycle, model=verdict.model, inputs=inputs)
        return replace(cycle, verdicts=(*cycle.verdicts, recorded)), recorded

    # ---- time, windows, models ------------------------------------------------------------------------------------

    def at(self, name: str) -> int:
        """The place in time of a window; DataError where its file is gone."""
        if name not in self.index_of:
            cure = "put its file back: the champion was made of it"
            raise DataError(self.confs.data.path, f"there is no window {name!r} any more", cure)
        return self.index_of[name]

    def mature(self, index: int) -> int:
        """The newest window whose labels are in when window `index` has come; those of the founding ones always are."""
        return max(self.confs.loop.founding_windows - 1, index - self.confs.data.label_lag)

    def read(self, name: str, *, labelled: bool) -> Window:
        """A window, read once while it is needed."""
        key = (name, labelled)
        if key not in self._windows:
            with self.ports.watch.lap("read"):
                self._windows[key] = self.ports.source.read(name, labelled=labelled)
        return self._windows[key]

    def strange(self, error: ClassError, past: Past) -> None:
        """Record labels of a class that nobody knows. The error stands where founding windows have them, where the
        champion was made of their window before, and where the check is off.
        """
        severity = self.confs.validate.severity.of(STRANGE)
        at = self.index_of.get(error.window, 0)
        if severity is None or at < self.confs.loop.founding_windows or error.window in past.strange:
            raise error
        outside.record_strange(self.ports.ledger, error, self.read(error.window, labelled=False), severity)

    def model(self, artifact: str) -> Predictor:
        """A stored model, loaded once."""
        if artifact not in self._models:
            with self.ports.watch.lap("load"):
                self._models[artifact] = load(self.ports.store, artifact, self.confs.trusted)
        return self._models[artifact]

    def forget(self, index: int) -> None:
        """Drop windows that no later cycle reads from memory."""
        keep = 2 * (self.confs.train.windows + self.confs.data.label_lag + 1)
        for key in [key for key in self._windows if self.index_of[key[0]] < index - keep]:
            del self._windows[key]

    # ---- the words ------------------------------------------------------------------------------------------------

    def validate(self, window: Window, past: Past) -> ValidationReport:
        """Is the window fit for use, held against the declared schema or what the founding windows look like, and
        against the usable windows before it where `validate.history` asks for them; the clock is that of the row which
        opened the window.

        What a clock or a log of serving had a part in is recorded at once: it may be otherwise when a killed cycle
        runs again.
        """
        known = outside.recorded(self.ports.ledger, window.name)
        if known is not None:
            return known
        if self._schema is None:
            self._schema = self._founding_schema()
        at, conf = self.at(window.name), self.confs.validate
        previous = self.read(self.names[at - 1], labelled=self._has_labels(at - 1)) if at else None
        usable = [name for name in self.names[:at] if name not in past.blocked]
        seen = [self._look(name) for name in usable[max(0, len(usable) - conf.history) :]] if conf.history else []
        with self.ports.watch.lap("validate"):
            came, schema = past.came, learn(self._schema, seen, conf.confidence_level)
            now, ages = outside.moment(came.get(window.name, "")), outside.ages_of(seen, came)
            found = validate(window, schema, conf, previous=previous, now=now, ages=ages)
            skewed = outside.against_serving(window, self.confs.data, conf)
        strange = past.strange.get(window.name)
        found = replace(found, checks=(*found.checks, *(strange.checks if strange else ())))
        if found.fresh is None and not skewed:
            return found
        with self.ports.watch.lap("ledger"):
            return outside.record(self.ports.ledger, replace(found, checks=(*found.checks, *skewed)))

    def _look(self, name: str) -> Schema:
        """What a window looks like, its label apart: the same whenever it is asked."""
        if name not in self._looks:
            table = self.read(name, labelled=False).table
            with self.ports.watch.lap("validate"):
                self._looks[name] = infer(table, self.confs.data, reference=name)
        return self._looks[name]

    def _founding_schema(self) -> Schema:
        """What the rows look like that the first champion may be trained on, once they are found fit for use."""
        windows = [self.read(name, labelled=True) for name in self.names[: founding.reference_windows(self.confs.loop)]]
        with self.ports.watch.lap("validate"):
            founding.check_windows(windows, self.confs.validate, self.confs.data, self._declared)
            return self._declared or founding.schema_of(windows, self.confs.data)

    def _has_labels(self, index: int) -> bool:
        """Is a labelled copy of that window at hand already; else the plain one does."""
        return (self.names[index], True) in self._windows

    def monitor(self, cycle: Cycle, past: Past, window: Window, mature: int) -> Cycle:
        """What changed: features and predictions against the champion's rows; its realised performance."""
        made = past.candidate(past.champion) if past.champion else None
        if made is None:
            return cycle
        model = self.model(made.model)
        reference = [self.read(name, labelled=True) for name in made.training_windows]
        holdout = self.read(made.holdout_window, labelled=True)
        before = [name for name in self.names[: cycle.index] if name not in past.quarantined]
        labelled = [name for name in self.names[: mature + 1] if name not in past.strange]
        previous = self.read(before[-1], labelled=before[-1] in labelled)
        newest = self.read(self.names[mature], labelled=True) if self.names[mature] in labelled else None
        with self.ports.watch.lap("monitor"):
            report = self._monitor.report(
                model=made.model,
                window=window,
                reference=reference,
                previous=previous,
                predictions=(self._predict(model, holdout), self._predict(model, window)),
                mature=self._maturity.mature(model, newest) if newest else None,
                importance=lambda: challenger.importance_of(model, holdout, self.confs.data, self.primary),
            )
            report, grounds = self._maturity.estimated(report, model, past, holdout, newest, window)
        report = self._risk.told(report, grounds, model, made, past, labelled)
        return replace(cycle, monitor=self._maturity.settled(report, past, labelled))

    def decide(self, cycle: Cycle, past: Past, mature: int) -> Cycle:
        """Is acting worth it. A window is decided once: also where somebody edits the config before it is over."""
        known = self.ports.ledger.rows(DECISION, cycle.window)
        if known:
            return replace(cycle, decision=from_plain(Decision, known[0].payload))
        champion = self.champion(cycle)
        realised = cycle.monitor.performance.metrics if cycle.monitor and cycle.monitor.performance else ()
        baseline = past.baseline(champion, self.primary) if champion else None
        if champion != cycle.champion and cycle.shadow is not None:
            realised = cycle.shadow.metrics  # promoted a moment ago: its own figures on that window
        waiting = past.pending if past.pending and not _left(cycle, past.pending, Stage.PREPRODUCTION) else ""
        evidence = Evidence(
            window=cycle.window,
            index=cycle.index,
            model=champion,
            greater_is_better=GREATER_IS_BETTER[self.primary],
            baseline=baseline,
            realised=next((e for e in realised if e.name == self.primary), None),
            age=self._age(past, champion, mature),
            drifted=len(cycle.monitor.baseline.drifted) if cycle.monitor else 0,
            columns=len(cycle.monitor.baseline.columns) if cycle.monitor else 0,
            pending=waiting,
            frozen=past.frozen,
            training=self.confs.train.windows,
            **past.known(cycle, champion, self.primary, self.index_of),
            **({} if champion else past.unfounded(self._usable(past, mature), self._labelled)),
            asked=past.asked.action if past.asked else "",
            asked_why=past.asked.reason if past.asked else "",
            calibration=self._recalibrator.measured(past, champion, self._usable(past, mature)),
        )
        evidence = from_plain(Evidence, to_plain(evidence))  # what the ledger can hold of it is what decides
        with self.ports.watch.lap("decide"):
            decision = decide(evidence, self.confs.decide)
        inputs = {"evidence": evidence, "conf": self.confs.decide}
        decision = self.record(DECISION, decision.id, decision, cycle, model=champion, inputs=inputs)
        return replace(cycle, decision=decision)

    def _labelled(self, name: str) -> int:
        """Rows of a window that have a label."""
        return int(challenger.has_label(self.read(name, labelled=True), self.confs.data).sum())

    def _age(self, past: Past, champion: str, mature: int) -> int:
        """Labelled windows that a retrain would train on and the champion has not."""
        made = past.candidate(champion) if champion else None
        return max(0, mature - 1 - self.at(made.training_windows[-1])) if made else 0

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return self.confs.evaluate.primary

    @staticmethod
    def champion(cycle: Cycle) -> str:
        """The model in production at this point of the cycle."""
        promoted = [c.model for c in cycle.changes if c.target is Stage.PRODUCTION]
        return promoted[-1] if promoted else cycle.champion

    def train(self, cycle: Cycle, past: Past, mature: int) -> Cycle:
        """A stored challenger, by the sweep or the warm start that was decided on."""
        decision = cycle.decision
        assert decision is not None  # decide() came before
        key = ("candidate", decision.id)
        candidate = self.once(Candidate, "candidate", key, cycle, "", lambda: self._train(cycle, past, mature))
        cycle = replace(cycle, candidate=candidate)
        if not candidate.model:
            return cycle
        where = f"{candidate.recalibrated_on}, to which it was fitted" if candidate.recalibrated_on else VALIDATION_ROWS
        reason = f"{decision.action.value}: {candidate.metric} {candidate.value:.4f} on {where}"
        return self.move(cycle, candidate.model, None, Stage.CANDIDATE, reason)

    def _train(self, cycle: Cycle, past: Past, mature: int) -> Candidate:
        decision = cycle.decision
        assert decision is not None  # decide() came before
        champion = self.champion(cycle)
        made = past.candidate(champion) if champion else None
        if decision.action is Action.RECALIBRATE:
            usable = self._usable(past, mature)
            return self._recalibrator.candidate(decision, past, champion, usable, self.recipe())
        rows = self.training_rows(past, mature)
        search, watch = self.ports.search, self.ports.watch
        warm = challenger.Warm(self.model(champion), made.params) if champion and made else None
        waited = search.startup_seconds
        with watch.lap("train"):
            candidate = challenger.train(
                decision,
                rows,
                self.recipe(),
                search,
                self.ports.store,
                warm=warm,
                watch=self.ports.look_on,
            )
        watch.move(search.startup_seconds - waited, "train", "ray")
        return candidate

    def recipe(self) -> Recipe:
        """How a challenger is made."""
        return Recipe(
            data=self.confs.data,
            train=self.confs.train,
            search=self.confs.search,
            space=self.confs.space,
            compose=self.ports.compose,
            price=self.confs.decide.hour_price,
            trusted=self.confs.trusted,
            folder=(self.ports.folder / "sweeps").absolute(),  # workers have another working directory
            config=self.confs.plain,
            loop=self.confs.loop.name,
        )

    def training_rows(self, past: Past, mature: int) -> TrainingRows:
        """The hold-out is the newest labelled window that was fit for use; the ones before it are trained on."""
        usable = self._usable(past, mature)
        if len(usable) < 2:
            cure = "wait for the next window, or lower data.label_lag"
            raise DataError(self.confs.data.path, f"{len(usable)} labelled windows are fit for use, 2 are needed", cure)
        span = usable[max(0, len(usable) - 1 - self.confs.train.windows) : -1]
        return TrainingRows(
            windows=tuple(self.read(name, labelled=True) for name in span),
            holdout=self.read(usable[-1], labelled=True),
        )

    def _usable(self, past: Past, mature: int) -> list[str]:
        """Labelled windows that were fit for use, oldest first."""
        return [name for name in self.names[: mature + 1] if name not in past.blocked]

    def evaluate(self, cycle: Cycle, past: Past) -> Cycle:
        """Challenger and champion on the hold-out rows."""
        if cycle.candidate is None or not cycle.candidate.model:
            return cycle
        window = self.read(cycle.candidate.holdout_window, labelled=True)
        return replace(cycle, evaluation=self.judged(cycle, "evaluation", cycle.candidate.model, window, past.blocked))

    def shadowed(self, cycle: Cycle, model: str, names: tuple[str, ...], blocked: Collection[str]) -> EvaluationReport:
        """A model beside the champion on the labelled rows of these windows together."""
        windows = [self.read(name, labelled=True) for name in names]
        if len(windows) == 1:
            return self.judged(cycle, "shadow", model, windows[0], blocked)
        rows = [replace(w, table=challenger.labelled_rows(w, self.confs.data)) for w in windows]
        return self.judged(cycle, "shadow", model, join(rows, self.confs.data.id), blocked, names)

    def judged(
        self,
        cycle: Cycle,
        kind: str,
        model: str,
        window: Window,
        blocked: Collection[str] = (),
        windows: tuple[str, ...] = (),
    ) -> EvaluationReport:
        """A model beside the champion on the labelled rows of a window; recorded under `kind`."""
        champion = self.champion(cycle)
        key = evaluation_key(kind, model, champion, window.fingerprint)
        rules = self.confs.gate.shadow if kind == "shadow" else self.confs.gate.rules
        needs = asked(rules.values(), self.primary)

        def made() -> EvaluationReport:
            near = self._neighbours(cycle, windows or (window.name,), needs, blocked)
            return replace(self._evaluate(model, champion, window, needs, near), windows=windows)

        return self.once(EvaluationReport, kind, key, cycle, model, made)

    def _neighbours(
        self, cycle: Cycle, windows: tuple[str, ...], needs: Asked, blocked: Collection[str]
    ) -> dict[int, Window]:
        """The labelled windows beside these that robustness asks for, by their shift: those fit for use whose labels
        are in.
        """
        shifts = {p.shift for p in challenger.perturbations(needs) if p.shift}
        places = {shift: self.at(windows[0 if shift < 0 else -1]) + shift for shift in shifts}
        there = {shift: self.names[at] for shift, at in places.items() if 0 <= at <= self.mature(cycle.index)}
        return {shift: self.read(name, labelled=True) for shift, name in there.items() if name not in blocked}

    def _evaluate(
        self, model: str, champion: str, window: Window, needs: Asked, near: Mapping[int, Window]
    ) -> EvaluationReport:
        made = self.model(model)
        beside = self.model(champion) if champion else None
        with self.ports.watch.lap("evaluate"):
            return challenger.judge_rows(made, beside, window, self.confs.data, self.confs.evaluate, needs, near)

    def started(self, cycle: Cycle, model: str) -> EvaluationReport:
        """What a fresh process found out about an artifact; recorded under `cold`."""
        champion = self.champion(cycle)
        key = evaluation_key("cold", model, champion, cycle.window)

        def made() -> EvaluationReport:
            measure = any(rule.kind == "latency" for rule in self.confs.gate.cold.values())
            with self.ports.watch.lap("cold start"):
                found = challenger.cold_check(self.ports.store, model, self.confs.trusted, measure=measure)
            return EvaluationReport(
                model=model,
                champion=champion,
                window=cycle.window,
                fingerprint=cycle.window,  # the rows are the artifact's own
                n_rows=found.rows,
                metrics=(),
                infra=found.infra,
                answers=(found.agrees, *found.answers),
            )

        return self.once(EvaluationReport, "cold", key, cycle, model, made)

    def act(self, cycle: Cycle, past: Past) -> Cycle:
        """What must happen because of this cycle; each item is recorded before it is carried out."""
        return self.acting.act(cycle, past)

    def move(
        self,
        cycle: Cycle,
        model: str,
        source: Stage | None,
        target: Stage,
        reason: str,
        evidence: str = "",
    ) -> Cycle:
        """One stage change, in the ledger and in the cycle.

        Where a person moved that model meanwhile, or put another one into production, their word stands: the change
        is not made, and that is said.
        """
        change = StageChange(
            id=digest("stage", model, source, target, cycle.window),
            model=model,
            source=source,
            target=target,
            reason=reason,
            window=cycle.window,
            decision=cycle.decision.id if cycle.decision else "",
            evidence=evidence,
        )
        try:
            with self.ports.watch.lap("ledger"):
                changed = self.ports.ledger.change(change, expected_generation=self._seen(change, cycle))
        except OvertakenError as error:
            self.ports.console.warn(f"{cycle.window}: {model[:12]} does not go to {target.value}: {error}")
            return cycle
        return replace(cycle, changes=(*cycle.changes, changed))

    def _seen(self, change: StageChange, cycle: Cycle) -> int | None:
        """The generation of production in which the champion that the evidence is about holds it; None elsewhere."""
        if change.target is not Stage.PRODUCTION or self.ports.ledger.find(change.id) is not None:
            return None
        generation, head = self.ports.ledger.generation(Stage.PRODUCTION), self.ports.ledger.head(Stage.PRODUCTION)
        if (head.model if head else "") != self.champion(cycle):
            now = f"{head.model[:12]} is" if head else "nothing is"
            raise OvertakenError(f"{now} in production now, and the evidence is about another champion")
        return generation


def evaluation_key(kind: str, model: str, champion: str, fingerprint: str) -> tuple[str, ...]:
    """One evaluation for one pair of models and rows; its digest is the id of its row."""
    return kind, model, champion, fingerprint


def verdict_id(verdict: Verdict) -> str:
    """One verdict for one gate, pair of models and window."""
    return digest("verdict", verdict.gate, verdict.model, verdict.champion, verdict.window)


def _left(cycle: Cycle, model: str, stage: Stage) -> bool:
    return any(c.model == model and c.source is stage for c in cycle.changes)
