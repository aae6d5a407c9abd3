"""What the stages hand to each other: frozen dataclasses, and their one JSON form.

Read from top to bottom this is one cycle: Window -> ValidationReport -> MonitorReport -> Decision -> Candidate ->
EvaluationReport -> Verdict -> StageChange -> ActionItem, all kept together in a Cycle.

`to_plain` and `from_plain` (engine/records/plain.py) turn any of them into JSON values and back. Shape letters: N rows,
P numeric features, Q categorical features, C classes.
"""

from __future__ import annotations

import enum
import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from engine.records.estimates import (
    Answer,
    Estimate,
    FoundSlice,
    GroupGap,
    Look,
    Perturbed,
    SliceEstimate,
    Wear,
    find,
    record,
)
from engine.records.items import Acted, ActionItem
from engine.records.measured import DeviceUse, PipelineMetrics
from engine.records.observed import (
    MonitorReport,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Task(enum.Enum):
    """What the label is."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


# ---- data ---------------------------------------------------------------------------------------------------------


@record
class Window:
    """The rows of one time interval. `table` holds id, time, features and, once known, the label (null where
    unknown).
    """

    name: str
    index: int
    table: pa.Table
    fingerprint: str  # sha256 of the content (schema, values, order), hexadecimal
    path: str
    labelled: bool  # True once the labels of this window have arrived

    @property
    def n_rows(self) -> int:
        """Rows, labelled or not."""
        return int(self.table.num_rows)


@record
class FeatureSpec:
    """What a model must know of its input before it sees a row."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    cardinalities: tuple[int, ...]  # per categorical feature: codes run from 0 (unknown or missing) to cardinality - 1
    task: Task
    n_outputs: int  # 1 for binary and regression, C for multiclass
    target_mean: float = 0.0  # regression: of the training rows
    target_scale: float = 1.0


@record
class Dataset:
    """A window as a model eats it. Rows without a label are left out where `target` is given."""

    numeric: np.ndarray  # (N, P) float32, standardised, missing imputed
    categorical: np.ndarray  # (N, Q) int64 codes
    target: np.ndarray | None  # (N,) float32 (binary 0/1, regression) or int64 (class index); None: not labelled
    rows: np.ndarray  # (N,) int64 row ids: what pairs predictions of two models

    def __len__(self) -> int:
        return len(self.rows)


# ---- validate -----------------------------------------------------------------------------------------------------


class Severity(enum.Enum):
    """What a violated check does: BLOCK stops the window, WARN and INFO are reported."""

    BLOCK = "block"
    WARN = "warn"
    INFO = "info"


class CheckOutcome(enum.Enum):
    """Answer of one check of the window."""

    OK = "ok"
    VIOLATED = "violated"
    UNDECIDABLE = "undecidable"


STRANGE = "classes"  # the check that labels of a class break that nobody knows


@record
class Check:
    """One check of one window (of one column, or of the table where `column` is empty)."""

    name: str
    column: str
    severity: Severity
    outcome: CheckOutcome
    observed: str
    expected: str
    reason: str


@record
class Freshness:
    """What is looked at to tell whether a window is fresh: enough to decide it again."""

    newest: str  # time of the newest row, ISO 8601 in UTC; empty: no row has one
    now: str  # when the window came
    limit_hours: float
    taught_by: int = 0  # windows before, which taught the limit; 0: a person declared it


@record
class ValidationReport:
    """Is the window fit for use."""

    window: str
    fingerprint: str
    n_rows: int
    checks: tuple[Check, ...]
    schema: str = ""  # hash of the schema that it was held against; empty: judged by itself
    fresh: Freshness | None = None  # None: nobody asked how old its rows may be

    @property
    def blocked(self) -> tuple[Check, ...]:
        """The checks that forbid the window: violated or undecidable at severity BLOCK."""
        return tuple(c for c in self.checks if c.severity is Severity.BLOCK and c.outcome is not CheckOutcome.OK)

    @property
    def usable(self) -> bool:
        """True if nothing blocks."""
        return not self.blocked


# ---- decide -------------------------------------------------------------------------------------------------------


class Action(enum.Enum):
    """What is worth doing: RECALIBRATE keeps the network and maps its scores anew, RETRAIN keeps the hyperparameters
    and starts warm, RETUNE is a full sweep.
    """

    KEEP = "keep"
    RECALIBRATE = "recalibrate"
    RETRAIN = "retrain"
    RETUNE = "retune"


@record
class Money:
    """An amount as a distribution: mean and standard deviation, in the currency of the config."""

    mean: float
    std: float


@record
class Option:
    """One of the things that could be done, with its forecast."""

    action: Action
    cost: Money  # KEEP: the expected loss of waiting; else compute and people's time
    gain: Money  # what it brings back, the chance to fail its gate included
    probability: float  # that the gain exceeds the cost; NaN where that is undecidable, and of KEEP
    why: str = ""  # what its gain stands on, where that is not what the others stand on


@record
class Decision:
    """Is acting worth it, and why."""

    id: str  # hash of the inputs: the same window, evidence and policy give the same id
    window: str
    policy: str
    action: Action
    reason: str
    waiting: Money  # expected loss of keeping the champion over the horizon
    acting: Money  # expected cost of one attempt, whether it passes its gate or not
    probability: float  # that acting pays, the chance to fail the gate included; NaN where that is undecidable
    currency: str
    # KEEP, RECALIBRATE where it is weighed, RETRAIN and RETUNE; without a champion RETUNE alone.
    options: tuple[Option, ...] = ()
    counterfactual: str = ""  # what the other choice was expected to come to, in a sentence
    wanted: int = 0  # windows in a row in which the policy wanted to act and its patience held it


# ---- train --------------------------------------------------------------------------------------------------------


class TrialState(enum.Enum):
    """How a trial ended: FINISHED used its epochs, STOPPED was cut by the scheduler or a budget, FAILED raised."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@record
class Epoch:
    """One epoch of one trial."""

    epoch: int  # from 1
    train_loss: float
    value: float  # the search metric on the validation rows
    seconds: float
    others: tuple[float, ...] = ()  # the further metrics of the sweep, in the order of search.metrics


@record
class Stretch:
    """Epochs of one trial under the same hyperparameters, until the next stretch."""

    after: int  # epochs trained before it
    trial: str  # who trained it
    params: dict[str, Any]


@record
class Trial:
    """One trial of a sweep, however it ended."""

    id: str
    params: dict[str, Any]  # config key -> value, what distinguishes this trial
    state: TrialState
    reason: str
    curve: tuple[Epoch, ...]
    best_epoch: int  # 0: none was usable
    value: float  # the metric at best_epoch
    seconds: float
    weights: str = ""  # path of the safetensors file of best_epoch, empty where there is none
    config: dict[str, Any] = field(default_factory=dict)  # train and model config of this point, secrets hidden
    notes: tuple[str, ...] = ()  # what befell it on the way: resumed from a checkpoint, its worker taken away
    schedule: tuple[Stretch, ...] = ()  # how its weights were trained; empty where its hyperparameters never changed
    use: DeviceUse | None = None  # of CPU and GPU; None: it was not measured


@record
class Sweep:
    """What the trials of one sweep have in common. Recorded before the first of them runs, and once more at the end."""

    id: str  # a hash of all that the trials depend on
    loop: str
    window: str
    policy: str  # who asked: a policy of the loop, or the verb of a person
    action: str
    decision: str
    metric: str
    mode: str  # max or min
    config: dict[str, Any]  # the whole config, secrets hidden
    model: str = ""  # artifact id of the best trial; empty while it runs, and where no trial finished


@record
class Candidate:
    """A trained model, stored: what a sweep chose, and what it rejected."""

    model: str  # artifact id
    decision: str
    metric: str
    value: float
    params: dict[str, Any]
    trials: tuple[Trial, ...]
    training_windows: tuple[str, ...]
    holdout_window: str
    n_rows: int
    seconds: float
    cost: float  # seconds of compute x price, in the currency of the config
    sweep: str = ""  # id of the sweep; empty in ledgers of earlier versions
    mode: str = "max"  # is the largest value of the metric best, or the smallest (min)
    front: tuple[str, ...] = ()  # several metrics: the trials that none is better than in all of them
    planned: int = 0  # trials the sweep may run; a budget ends it earlier
    # RECALIBRATE: the window that the map was fitted on; `training_windows` are the network's.
    recalibrated_on: str = ""

    @property
    def winner(self) -> Trial | None:
        """The trial that became the model; None where none did. Two may have the same hyperparameters."""
        found = (
            trial
            for trial in self.trials
            if trial.params == self.params and trial.value == self.value and trial.state is TrialState.FINISHED
        )
        return next(found, None) if self.model else None


# ---- evaluate and gate --------------------------------------------------------------------------------------------


@record
class EvaluationReport:
    """How good is a model on held-out rows; against the champion on those same rows where there is one."""

    model: str
    champion: str  # empty: there is none
    window: str
    fingerprint: str  # of the rows: what hold-out wear is counted by
    n_rows: int
    metrics: tuple[Estimate, ...]
    champion_metrics: tuple[Estimate, ...] = ()
    differences: tuple[Estimate, ...] = ()  # challenger minus champion, paired by row
    slices: tuple[SliceEstimate, ...] = ()
    # What the rules of the gate ask for beside these (Asked):
    guarded: tuple[SliceEstimate, ...] = ()  # slices by other metrics, crossings of slices
    fairness: tuple[GroupGap, ...] = ()
    robustness: tuple[Perturbed, ...] = ()
    infra: tuple[Estimate, ...] = ()  # cold: milliseconds and megabytes
    answers: tuple[Answer, ...] = ()  # cold: what the artifact did with each request
    found: tuple[FoundSlice, ...] = ()  # slices that nobody declared, each kind worst first
    searched: int = 0  # slices looked through for them; 0: there was no search
    windows: tuple[str, ...] = ()  # whose rows were joined, oldest first; empty: those of `window` alone
    classes: tuple[str, ...] = ()  # of a label of words, in the order of their codes: of two, the positive one last

    def metric(self, name: str) -> Estimate:
        """The challenger's estimate of that name; KeyError where it was not computed."""
        return find(self.metrics, name)


class Outcome(enum.Enum):
    """Answer of a rule or a gate. Only PASS opens it."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@record
class RuleResult:
    """One rule of the gate."""

    rule: str
    outcome: Outcome
    metric: str
    estimate: Estimate | None  # what was compared; None: it was missing
    bound: float  # threshold or margin
    reason: str
    rows_needed: int = 0  # where INCONCLUSIVE: rows that would decide, as far as can be told; 0: cannot be told
    kind: str = ""  # of the rule; empty: an earlier release did not say
    better: int = 0  # +1: more is better, -1: less is; 0: no number was compared
    power: float = 0.0  # the probability that `detectable` and `rows_needed` are about
    detectable: float | None = None  # the smallest true value that would have passed with probability `power`
    critical: float = math.nan  # at one of several looks: the critical value; NaN: it was the ordinary one
    information: float = math.nan  # that had accrued by then: (n x standard error)^2


@record
class Verdict:
    """May this model pass to that stage."""

    gate: str  # "offline", "cold", "shadow"
    model: str
    champion: str
    window: str
    outcome: Outcome
    reason: str
    rules: tuple[RuleResult, ...] = ()
    first: bool = False  # judged by absolute floors alone: there was no champion
    holdout_uses: int = 0  # how often these rows had decided before
    look: Look | None = None  # one of several; None: there is but one
    wear: Wear | None = None  # None: these rows are not counted

    @property
    def waiting(self) -> bool:
        """Is nothing decided yet, and another look to come."""
        return self.outcome is Outcome.INCONCLUSIVE and self.look is not None and self.look.number < self.look.most


# ---- promote ------------------------------------------------------------------------------------------------------


class Stage(enum.Enum):
    """Where a model is. QUARANTINED and RETIRED are aside: nothing is promoted from them without new evidence."""

    CANDIDATE = "candidate"
    STAGING = "staging"
    PREPRODUCTION = "preproduction"
    PRODUCTION = "production"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


class Route(enum.Enum):
    """Why a model may change its stage: a gate's EVIDENCE, a person's word (MANUAL), or the way back (ROLLBACK)."""

    EVIDENCE = "evidence"
    MANUAL = "manual"
    ROLLBACK = "rollback"


@record
class StageChange:
    """A model went from one stage to another."""

    id: str  # idempotency key: the same change is recorded once
    model: str
    source: Stage | None  # None: it was just made
    target: Stage
    reason: str
    window: str
    decision: str = ""
    generation: int = 0  # of the head of `target` after the change; 0: that stage has no head
    actor: str = "loop"
    route: Route = Route.EVIDENCE
    evidence: str = ""  # id of the ledger row of the verdict that allowed it


# ---- the cycle ----------------------------------------------------------------------------------------------------


@record
class Cycle:
    """All that happened in one window: the unit of the ledger, the tracker and the report."""

    id: str
    loop: str
    window: str
    index: int
    founding: bool
    n_rows: int
    champion: str  # in production when the cycle began, empty: none
    champion_after: str
    validation: ValidationReport
    monitor: MonitorReport | None = None
    decision: Decision | None = None
    candidate: Candidate | None = None
    evaluation: EvaluationReport | None = None
    verdicts: tuple[Verdict, ...] = ()
    shadow: EvaluationReport | None = None
    changes: tuple[StageChange, ...] = ()
    actions: tuple[ActionItem, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)  # stage -> seconds of wall time
    acted: tuple[Acted, ...] = ()  # what was done because of the items, what would have been, and what could not be
    pipeline: PipelineMetrics | None = None  # None in ledgers of earlier releases
    labels: tuple[ValidationReport, ...] = ()  # of earlier windows, whose labels were found strange in this one
