"""The longer steps of a cycle: from labelled windows to a stored candidate, and from two predictors to a report.

Rows are used once. Of the labelled windows the newest is the hold-out (the gate's rows); the `train.windows` before it
are trained on, except their latest `train.validation` share, on which the sweep compares its trials. So neither
training nor the sweep has seen what the gate decides on, and all three follow each other in time as they will in
production.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine import __version__
from engine.data.conf import DataConf
from engine.data.features import Encoder
from engine.data.tables import clusters, concat, split_by_time
from engine.errors import DataError
from engine.evaluate.conf import EvaluateConf
from engine.evaluate.report import evaluate
from engine.evaluate.robustness import Elsewhere, perturb
from engine.evaluate.worst import Feature, categorical_feature, numeric_feature
from engine.models import predictor
from engine.models.predictor import KEY, MEASURE, Predictor
from engine.monitor.harm import Importance, importance
from engine.promote.store import Store
from engine.records import (
    Action,
    Answer,
    Asked,
    Candidate,
    Decision,
    Estimate,
    EvaluationReport,
    Perturbation,
    Sweep,
    Trial,
    Window,
    digest,
    from_plain,
)
from engine.scoring.intervals import Rows
from engine.scoring.scores import direction
from engine.system.redact import redact
from engine.train import front
from engine.train.conf import ModelConf, SearchConf, TrainConf
from engine.train.naming import trial_id
from engine.train.search_space import Point, Space
from engine.train.searchers import begin
from engine.train.shapes import check_shapes
from engine.train.sweep import Further, Population, Search, SweepJob, TrialPlan
from engine.train.watched import Watch, run_watched, write_sweep

PACKAGES = ("torch", "lightning", "ray", "numpy", "numba", "pyarrow", "safetensors", "hydra-core")
RECORDED = "recorded predictions"
COLD_SECONDS = 300.0  # until a fresh process has answered
NOTHING = Asked()
NO_WINDOWS: Mapping[int, Window] = MappingProxyType({})
Compose = Callable[[Point], tuple[TrainConf, ModelConf]]


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The windows of one retrain."""

    windows: tuple[Window, ...]
    holdout: Window

    @property
    def table(self) -> pa.Table:
        """All rows that may be trained on, in the order of time."""
        return concat([w.table for w in self.windows])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a challenger is made: everything but the rows."""

    data: DataConf
    train: TrainConf
    search: SearchConf
    space: Space
    compose: Compose
    price: float  # of one hour of compute
    trusted: tuple[str, ...]
    folder: Path
    config: dict[str, Any]  # the whole config, for the manifest
    loop: str = ""  # its name, for reviewers


@dataclass(frozen=True, kw_only=True)
class Cold:
    """What a fresh process found out about an artifact."""

    agrees: Answer  # does it predict as recorded
    answers: tuple[Answer, ...] = ()
    infra: tuple[Estimate, ...] = ()
    rows: int = 0


@dataclass(frozen=True)
class Warm:
    """The champion that a retrain starts from."""

    predictor: Predictor
    params: Point


def train(
    decision: Decision,
    rows: TrainingRows,
    recipe: Recipe,
    search: Search,
    store: Store,
    *,
    warm: Warm | None,
    first: Point | None = None,
    watch: Watch,
) -> Candidate:
    """Run the sweep that the decision asks for and store its best trial; `model` is empty where no trial finished.

    RETRAIN keeps the champion's hyperparameters, starts from its weights, and keeps its encoder: embeddings mean
    nothing under other codes. RETUNE searches the space and starts cold; its first point is the champion's, or `first`
    where no champion is given, if it lies in the space.

    Raises:
        DataError: too few labelled rows to split, or all of one label.
        ConfigError: a point known beforehand that cannot be composed; a searcher that is not installed.
        KeyboardInterrupt: Ctrl-C; the same command goes on with the trials that are left.
    """
    keep = warm if decision.action is Action.RETRAIN else None
    fit_rows, validation_rows = split_by_time(rows.table, recipe.data.time, 1 - recipe.train.validation)
    encoder = keep.predictor.encoder if keep else Encoder.fit(fit_rows, recipe.data)
    if keep:
        points, searcher = [keep.params], None
    else:
        points, searcher = begin(recipe.search, recipe.space, first or (warm.params if warm else None))
    plans = tuple(_plan(i, point, recipe.compose) for i, point in enumerate(points))
    further = None
    if searcher is not None:
        further = Further(
            searcher=searcher, plan=lambda i, point: _plan(i, point, recipe.compose), size=recipe.search.num_samples
        )
    population = None
    if recipe.search.scheduler == "pbt" and not keep:
        population = Population(domains=recipe.space.domains, plan=lambda i, point: _plan(i, point, recipe.compose))
        check_shapes(population, plans[0], encoder.spec, recipe.trusted)
    id = _job_id(decision, rows, recipe, plans, further is not None, encoder, keep)
    modes = tuple(direction(metric) for metric in (recipe.search.metric, *recipe.search.further))
    job = SweepJob(
        id=id,
        plans=plans,
        further=further,
        population=population,
        spec=encoder.spec,
        train=encoder.transform(fit_rows, labelled=True),
        validation=encoder.transform(validation_rows, labelled=True),
        metric=recipe.search.metric,
        mode=modes[0],
        others=tuple(recipe.search.further),
        folder=recipe.folder / id[:16],
        trusted=recipe.trusted,
        warm_start=store.read(keep.predictor.artifact, "weights.safetensors") if keep else b"",
        devices=_devices(recipe.train),
        clusters=_clusters(validation_rows, recipe.data),
    )
    sweep = _sweep(decision, job, recipe)
    write_sweep(job.folder, sweep)
    with watch(sweep, job.size) as onlooker:
        trials = run_watched(search, job, onlooker)
    winner = front.chosen(trials, modes)
    seconds = sum(t.seconds for t in trials)
    artifact = ""
    if winner is not None:
        plan = _plan(0, winner.params, recipe.compose)
        weights = Path(winner.weights).read_bytes()
        files = predictor.pack(
            encoder=encoder,
            weights=weights,
            model=plan.model,
            train=plan.train,
            probe=validation_rows,
            trusted=recipe.trusted,
        )
        artifact = store.put(files, _manifest(decision, rows, job, winner, recipe.config))
        write_sweep(job.folder, replace(sweep, model=artifact))
    return Candidate(
        model=artifact,
        decision=decision.id,
        metric=job.metric,
        value=winner.value if winner else float("nan"),
        params=winner.params if winner else {},
        trials=trials,
        training_windows=tuple(w.name for w in rows.windows),
        holdout_window=rows.holdout.name,
        n_rows=len(job.train),
        seconds=seconds,
        cost=seconds / 3600 * recipe.price,
        front=tuple(t.id for t in front.of(trials, modes)) if len(modes) > 1 else (),
        planned=job.size,
        sweep=job.id,
        mode=job.mode,
    )


def _sweep(decision: Decision, job: SweepJob, recipe: Recipe) -> Sweep:
    """What all trials of the job have in common."""
    return Sweep(
        id=job.id,
        loop=recipe.loop,
        window=decision.window,
        policy=decision.policy,
        action=decision.action.value,
        decision=decision.id,
        metric=job.metric,
        mode=job.mode,
        config=redact(recipe.config),
    )


def _devices(train: TrainConf) -> float:
    """GPUs of a trial, or its CPUs where it trains on none; of all its processes."""
    on_gpu = train.accelerator == "gpu" or (train.accelerator != "cpu" and _has_gpu(train))
    return train.workers * ((train.gpus or 1.0) if on_gpu else float(train.threads))


def _has_gpu(train: TrainConf) -> bool:
    from engine.train.inference import accelerator  # torch: Ray starts meanwhile

    return accelerator(train) == "gpu"


def _clusters(table: pa.Table, data: DataConf) -> np.ndarray | None:
    """Cluster codes of the labelled rows, from 0 without gaps; None where rows are independent."""
    found = clusters(table.filter(table.column(data.label).is_valid()), data)
    return None if found is None else np.unique(found, return_inverse=True)[1]


def _job_id(
    decision: Decision,
    rows: TrainingRows,
    recipe: Recipe,
    plans: tuple[TrialPlan, ...],
    grows: bool,
    encoder: Encoder,
    keep: Warm | None,
) -> str:
    """A hash of all that the trials depend on: a changed config must not find the trials of the old one.

    Points that are not known yet follow from what chooses them, and from the config of a trial without a point.
    """
    conf = recipe.search
    chooses = [recipe.space.texts, conf.searcher, conf.num_samples, conf.startup, conf.seed, recipe.compose({})]
    return digest(
        "sweep",
        decision.id,
        [w.fingerprint for w in rows.windows],
        recipe.train.validation,
        conf.metric,
        list(conf.further),
        [[plan.params, plan.train, plan.model] for plan in plans],
        chooses if grows else [],
        *([[recipe.space.texts, conf.population]] if conf.scheduler == "pbt" else []),
        encoder.to_dict(),
        keep.predictor.artifact if keep else "",
    )


def _plan(index: int, point: Point, compose: Compose) -> TrialPlan:
    train_conf, model = compose(point)
    return TrialPlan(id=trial_id(index), params=point, train=train_conf, model=model)


def _manifest(
    decision: Decision, rows: TrainingRows, job: SweepJob, winner: Trial, config: dict[str, Any]
) -> dict[str, Any]:
    """Where this model comes from: data, config, code, packages, and how good it looked in the sweep."""
    return {
        "kind": "model",
        "decision": decision.id,
        "window": decision.window,
        "data": {w.name: w.fingerprint for w in rows.windows},
        "rows": {"train": len(job.train), "validation": len(job.validation)},
        "config": redact(config),
        "params": winner.params,
        "metrics": {f"validation.{job.metric}": winner.value},
        **made_with(),
    }


def made_with() -> dict[str, Any]:
    """Code and packages, for a manifest."""
    return {
        "code": {"tidegate": __version__, "commit": commit(), "python": platform.python_version()},
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """The git commit of the code that runs, "-dirty" behind it where files were changed; empty outside a checkout.

    An installed package that merely lies below somebody's checkout (a .venv in a project) has none.
    """
    if not _git("ls-files", "--error-unmatch", Path(__file__).name):
        return ""
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*words: str) -> str:
    """What git says in the folder of this file; empty where it fails."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def judge_rows(
    challenger: Predictor,
    champion: Predictor | None,
    window: Window,
    data: DataConf,
    conf: EvaluateConf,
    asked: Asked = NOTHING,
    beside: Mapping[int, Window] = NO_WINDOWS,
) -> EvaluationReport:
    """Both models on the labelled rows of one window, and where rules ask for it of one beside it; the challenger also
    on perturbed ones.

    `beside` holds the labelled windows next to this one by their shift: -1 the one before, 1 the one after.
    """
    table = labelled_rows(window, data)
    rows = rows_of(challenger, table, data)
    return evaluate(
        model=challenger.artifact,
        champion=champion.artifact if champion else "",
        window=window.name,
        fingerprint=window.fingerprint,
        task=challenger.task,
        target=rows.target,
        rows=rows.ids,
        cluster=rows.cluster,
        prediction=challenger.predict(table),
        champion_prediction=champion.predict(table) if champion else None,
        slices={column: levels(table, column) for column in data.slices},
        conf=conf,
        asked=asked,
        features=features_of(table, data, conf),
        classes=challenger.classes,
        predictions={
            p.name: _perturbed(challenger, champion, table, p, data, conf, beside) for p in perturbations(asked)
        },
    )


def features_of(table: pa.Table, data: DataConf, conf: EvaluateConf) -> tuple[Feature, ...]:
    """What slices are looked for in: every feature, and the columns that are declared for slices."""
    if conf.find_slices == 0:
        return ()
    found = [
        numeric_feature(name, pc.fill_null(table[name].cast(pa.float64()), np.nan).to_numpy(), conf.find_bins)
        for name in data.numeric
    ]
    for name in dict.fromkeys((*data.categorical, *data.slices)):
        coded = table[name].cast(pa.string()).fill_null("(missing)").combine_chunks().dictionary_encode()
        found.append(categorical_feature(name, coded.indices.to_numpy(), coded.dictionary.to_pylist()))
    return tuple(found)


def perturbations(asked: Asked) -> list[Perturbation]:
    """Each once."""
    return list(dict.fromkeys(one.perturbation for one in asked.perturbed))


def rows_of(model: Predictor, table: pa.Table, data: DataConf) -> Rows:
    """Labelled rows as intervals take them."""
    labelled = model.encoder.transform(table, labelled=True)
    return Rows(
        task=model.task,
        target=np.asarray(labelled.target),
        ids=labelled.rows,
        cluster=clusters(table, data),
        classes=model.classes,
    )


def importance_of(model: Predictor, holdout: Window, data: DataConf, metric: str) -> Importance:
    """What each feature is worth to a model, on the labelled rows of its hold-out."""
    table = labelled_rows(holdout, data)
    rows = rows_of(model, table, data)
    return importance(model.predict, table, rows, [*data.numeric, *data.categorical], metric)


def _perturbed(
    model: Predictor,
    champion: Predictor | None,
    table: pa.Table,
    what: Perturbation,
    data: DataConf,
    conf: EvaluateConf,
    beside: Mapping[int, Window],
) -> np.ndarray | Elsewhere | str:
    """Predictions of the rows under a perturbation, or why there are none."""
    if what.kind != "shifted":
        scales = dict(zip(model.encoder.numeric, model.encoder.scales, strict=True))
        return model.predict(perturb(table, what, scales, conf.seed))
    if what.shift not in beside:
        return f"too few windows: there is no labelled {what.name}"
    other = labelled_rows(beside[what.shift], data)
    return Elsewhere(rows_of(model, other, data), model.predict(other), champion.predict(other) if champion else None)


def levels(table: pa.Table, column: str) -> np.ndarray:
    """The values of a slicing column as text (N,), "(missing)" where there is none."""
    return np.asarray(table.column(column).cast(pa.string()).fill_null("(missing)").to_pylist(), dtype=str)


def labelled_rows(window: Window, data: DataConf) -> pa.Table:
    """The rows of a window that have a label; DataError where the labels have not arrived."""
    if data.label not in window.table.column_names:
        raise DataError(f"{window.path}:{data.label}", "has no labels yet", "wait for them, or name an earlier window")
    return window.table.filter(window.table.column(data.label).is_valid())


def has_label(window: Window, data: DataConf) -> np.ndarray:
    """(N,) bool: which rows of a window `labelled_rows` gives."""
    return np.asarray(window.table.column(data.label).is_valid())


def cold_check(store: Store, model: str, trusted: Sequence[str], *, measure: bool = False) -> Cold:
    """Load the artifact in a fresh process: does it give the recorded predictions, how does it answer bad requests,
    what does it need; with `measure` also how long a call takes.
    """
    key = KEY + store.signing.verify_key
    options = [key, MEASURE] if measure else [key]
    command = [sys.executable, "-m", "engine.models.predictor", *options, store.url, model, *trusted]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=COLD_SECONDS, check=False)
        found = json.loads(answer.stdout.strip().splitlines()[-1])
        if "error" in found:
            return Cold(agrees=Answer(request=RECORDED, fine=False, reason=str(found["error"])))
        answers = tuple(from_plain(Answer, told) for told in found["answers"])
        infra = tuple(from_plain(Estimate, number) for number in found["infra"])
        largest, rows, fine = found["largest_difference"], int(found["rows"]), found["agrees"] is True
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError, TypeError) as error:
        reason = f"the fresh process gave no answer ({type(error).__name__})"
        return Cold(agrees=Answer(request=RECORDED, fine=False, reason=reason))
    difference = "not all of them finite" if largest is None else f"largest difference {largest:.2g}"
    agrees = Answer(request=RECORDED, fine=fine, reason=f"{rows} recorded predictions, {difference}")
    return Cold(agrees=agrees, answers=answers, infra=infra, rows=rows)
