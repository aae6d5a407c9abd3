"""The config as types: one dataclass a group, so that a typo fails when Hydra composes it; and its way to the stages.

`register` tells Hydra; `to_config` turns what Hydra composed into dataclasses, once, at the door: no stage ever sees an
OmegaConf object. Conf classes live beside the stage they belong to.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from engine.act import ActConf
from engine.backtest.conf import BacktestConf
from engine.cluster.conf import ClusterConf
from engine.config.checks import OF_A_TRIAL
from engine.config.composition import Composition, options
from engine.cycle.conf import LoopConf
from engine.data.conf import DataConf
from engine.decide import DecideConf
from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.gate import GateConf
from engine.monitor.conf import MonitorConf
from engine.promote.conf import PromoteConf
from engine.promote.names import check_name
from engine.promote.signing import Signing
from engine.promote.store import Store
from engine.records.plain import to_plain
from engine.system.redact import redact, redact_text
from engine.track.port import TrackConf
from engine.train.conf import ModelConf, ResidualConf, SearchConf, TabularConf, TrainConf
from engine.train.search_space import Point, quote
from engine.validate.conf import ValidateConf
from engine.watch.conf import WatchConf

if TYPE_CHECKING:
    from engine.data.sources import ParquetSource

LONGEST_TEXT = 1000  # characters of one value
# What single verbs are told: no part of what a loop is.
_OF_FILES = ("numeric", "categorical", "ignore", "prediction", "label", "multivariate", "html", "workers")
_OF_ALERTS = ("ack", "undo", "test", "by", "note")
_OF_VERBS = ("verb", "status", "stop", "environment", "infer", "overwrite", "diff", *_OF_FILES, *_OF_ALERTS)


@dataclass(kw_only=True, slots=True)
class Config:
    """All of it. The keys above the groups are what single verbs are told on the command line."""

    out: str = MISSING
    """Folder of everything that a loop writes."""
    trust: list[str] = field(default_factory=list)
    """Packages whose model classes may be named in `model._target_`; TIDEGATE_TRUST adds to them."""
    window: str | None = None
    """validate, drift, evaluate, gate, history: the window to look at; null: the newest (gate: the challenger's
    hold-out; history: all)."""
    against: str | None = None
    """drift: the window to compare with; null: the one before. gate: the model to compare with, by the beginning of
    its id; null: the champion that the loop compared with. validate --diff: the newer schema file; null:
    validate.schema, or what the windows look like now."""
    reference: str | None = None
    """drift: a Parquet, CSV or Arrow file, a folder, glob or URI of them, to compare with, not the loop's windows."""
    live: str | None = None
    """drift: the file, folder or glob to look at. validate: what serving saw of the window's rows, a file with their
    ids and features."""
    numeric: list[str] | None = None
    """drift of files: columns to compare as numbers; null: what their types say."""
    categorical: list[str] | None = None
    """drift of files: columns to compare as categories."""
    ignore: list[str] | None = None
    """drift of files: columns that are not compared."""
    prediction: str | None = None
    """drift of files: the column of a model's answers."""
    label: str | None = None
    """drift of files: the column of what came true."""
    multivariate: str = "none"
    """drift: how all columns are compared as one, too: pca, mmd or none."""
    html: str | None = None
    """drift: where to write a page with pictures of what moved. backtest: the same of policies; null:
    <out>/backtest.html."""
    workers: int = 1
    """drift of large files: processes that scan them together, of a Ray that starts here; 1: this process alone. With
    cluster=ray all CPUs of the cluster scan, whatever this says."""
    environment: str = "serving"
    """validate: `training` reads the labels too and looks for leakage; `serving` does without."""
    infer: bool = False
    """validate: write what the founding windows look like to validate.schema; null there: to stdout."""
    overwrite: bool = False
    """validate --infer: replace the file where it says something else."""
    diff: str | None = None
    """validate: an older schema file, to be compared with the one that `against` says."""
    artifact: str | None = None
    """evaluate, gate, promote, card: a model by the beginning of its id; null: the champion (gate: the newest
    challenger)."""
    stage: str | None = None
    """promote: where to."""
    reason: str | None = None
    """promote, rollback: why."""
    actor: str | None = None
    """promote, rollback: who."""
    rehearse: bool = False
    """promote, rollback, gc: do everything but keep it; submit: say what would be handed on."""
    thaw: bool = False
    """promote: let promotions happen again after a freeze."""
    of: str | None = None
    """why: a window, or the beginning of the id of a decision, verdict, stage change or model."""
    at: str | None = None
    """live: a moment, such as 2026-03-01T12:00; without a zone it is UTC; null: now. validate: as of then rows are
    fresh or stale."""
    kind: str | None = None
    """history: rows of this kind alone, such as verdict or stage."""
    limit: int | None = None
    """history: the newest rows alone, this many."""
    older_than: str = "1d"
    """gc: keep what is younger, such as 12h or 7d: it may belong to a decision that is under way."""
    ledgers: list[str] | None = None
    """gc: URLs of all other ledgers whose models lie in this store."""
    ack: str | None = None
    """alerts: take an alert in hand, by the beginning of its id."""
    undo: str | None = None
    """alerts: take back what an action did, by the beginning of its id."""
    test: str | None = None
    """alerts: the channel that gets a test message."""
    by: str | None = None
    """alerts: who."""
    note: str | None = None
    """alerts: what they have to say."""
    verb: str | None = None
    """submit: what runs on the cluster."""
    status: str | None = None
    """submit: tell how the job of this id is."""
    stop: str | None = None
    """submit: end the job of this id."""

    loop: LoopConf = field(default_factory=LoopConf)
    data: DataConf | None = None
    validate: ValidateConf = field(default_factory=ValidateConf)
    monitor: MonitorConf = field(default_factory=MonitorConf)
    decide: DecideConf = field(default_factory=DecideConf)
    model: Any = MISSING
    train: TrainConf = field(default_factory=TrainConf)
    search: SearchConf = field(default_factory=SearchConf)
    evaluate: EvaluateConf = field(default_factory=EvaluateConf)
    gate: GateConf = field(default_factory=GateConf)
    promote: PromoteConf = field(default_factory=PromoteConf)
    act: ActConf = field(default_factory=ActConf)
    track: TrackConf = field(default_factory=TrackConf)
    cluster: ClusterConf = field(default_factory=ClusterConf)
    watch: WatchConf = field(default_factory=WatchConf)
    backtest: BacktestConf = field(default_factory=BacktestConf)

    @property
    def need_data(self) -> DataConf:
        """The data config; ConfigError where none was chosen."""
        if self.data is None:
            raise ConfigError("data", "no data is configured", "add experiment=flights, or data=parquet data.path=...")
        return self.data

    @property
    def folder(self) -> Path:
        """`out` as a path."""
        return Path(self.out)

    @property
    def ledger_url(self) -> str:
        """Of the ledger."""
        return self.promote.ledger or f"sqlite:///{self.folder / 'ledger.db'}"

    def open_source(self) -> ParquetSource:
        """The windows; ConfigError where no data was chosen."""
        from engine.data.sources import ParquetSource  # not for verbs over the ledger alone

        return ParquetSource(self.need_data, self.loop.founding_windows)

    def open_store(self) -> Store:
        """The artifacts; ConfigError where its URL or a key cannot be used."""
        signing = Signing(sign_key=self.promote.sign_key or "", verify_key=self.promote.verify_key or "")
        return Store(self.promote.store or self.folder / "store", signing)

    def plain(self) -> dict[str, Any]:
        """As JSON values, secrets hidden: for manifests, the tracker and the report; ids of sweeps are made of it.

        Where something runs is no part of what it is: it goes on elsewhere under the same id.
        """
        values: dict[str, Any] = redact(to_plain(self))
        for name in (*_OF_VERBS, "cluster", "watch", "backtest"):
            values.pop(name)
        return values


@cache
def register() -> None:
    """Put the types where the `schema` entries of conf/ find them, once."""
    store = ConfigStore.instance()
    of_the_gate = SearchConf(metric="${evaluate.primary}")  # what a model is judged by, unless a search names another
    store.store(name="schema", node=Config(search=of_the_gate))
    store.store(group="model", name="tabular_schema", node=TabularConf)
    store.store(group="model", name="resnet_schema", node=ResidualConf)


def to_config(composed: DictConfig) -> Config:
    """Dataclasses of what Hydra composed; ConfigError names a key that still has no value."""
    _check(composed, "")
    config = OmegaConf.to_object(composed)
    assert isinstance(config, Config)  # the schema is the root of conf/config.yaml
    check_name(config.loop.name, "loop")  # it becomes a folder: runs/<name>
    for key, name in (("loop.name", config.loop.name), ("track.project", config.track.project), ("out", config.out)):
        if redact_text(name) != name:
            raise ConfigError(key, "holds a secret, and is written everywhere", "choose another name")
    config.model = _model(config.model)
    return config


def _check(node: DictConfig, path: str) -> None:
    """ConfigError names what no dataclass has, what no person means, and what still has no value."""
    _check_keys(node, f"{path}." if path else "")
    _check_values(OmegaConf.to_container(node, resolve=False), path)
    missing = sorted(OmegaConf.missing_keys(node))  # their full names, wherever the node lies
    if missing:
        others = f"; then {', '.join(missing[1:])}" if missing[1:] else ""
        raise ConfigError(missing[0], "has no value", f"set it: {missing[0]}=...{others}")
    _check_values(OmegaConf.to_container(node, resolve=True), path)


def _model(found: Any) -> ModelConf:
    """The model's class and arguments as plain values."""
    model = dataclasses.asdict(found) if dataclasses.is_dataclass(found) else dict(found or {})  # type: ignore[arg-type]
    if "_target_" not in model:
        raise ConfigError("model._target_", "the model has no class", "choose model=tabular or name a LightningModule")
    return model


def _check_keys(node: DictConfig, path: str) -> None:
    """ConfigError where a key was added (`+train.foo=1`) that the dataclass of its group does not have."""
    kind = OmegaConf.get_type(node)
    known = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None
    for key in map(str, node):
        where = f"{path}{key}"
        if known is not None and key not in known:
            near = difflib.get_close_matches(key, known, 1)
            cure = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
            raise ConfigError(f"config:{where}", f"there is no key {key!r}", cure)
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _check_keys(child, f"{where}.")


def _check_values(value: Any, path: str) -> None:
    """ConfigError where a text or a number is none that a person means: it would break something far from here."""
    where = f"config:{path or 'config'}"
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(str(key), path)
            _check_values(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, list) and not path.startswith("model."):
                raise ConfigError(where, "is a list in a list", "write [a, b]")
            _check_values(inner, path)
    elif isinstance(value, str) and not value.isprintable():
        raise ConfigError(where, f"{value!r} holds what cannot be printed", "use printable characters on one line")
    elif isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ConfigError(where, f"has {len(value)} characters", f"use at most {LONGEST_TEXT}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ConfigError(where, "is a number beyond all use", "choose a smaller one")


def compose_config(overrides: Sequence[str], searchpath: Sequence[str] = (), name: str = "config") -> Config:
    """The config of these overrides, composed anew. See `Composition` for the other arguments."""
    register()
    return to_config(Composition(overrides, searchpath, name).root)


def has_foreign_space(composed: DictConfig) -> bool:
    """Does what Hydra composed hold a space for Hydra's own sweeper."""
    return bool(composed.hydra.sweeper.get("params"))


class Composer:
    """Composes the config of each point of a search space: a point may choose a group, not only a number."""

    def __init__(self, overrides: Sequence[str], searchpath: Sequence[str] = (), name: str = "config") -> None:
        self.overrides, self.searchpath, self.name = list(overrides), list(searchpath), name
        self.searched: dict[str, str] = {}  # keys of the command line that name a space: no part of the config
        self._composed: dict[tuple[str, ...], Composition] = {}
        self._options: dict[str, list[str]] = {}
        # groups of which one point was checked with all of the config around it, and all was well
        self._sound: set[tuple[str, ...]] = set()

    def words(self) -> list[str]:
        """The overrides as they were typed, those that name a space last."""
        return [*self.overrides, *(f"{key}={expression}" for key, expression in self.searched.items())]

    @classmethod
    def of(cls, composed: DictConfig) -> Composer:
        """What Hydra's own main has composed, to be composed again; Hydra's part of it is taken out."""
        hydra = composed.hydra
        found = [
            source for source in hydra.runtime.config_sources if source.provider not in ("hydra", "main", "schema")
        ]
        searchpath = [f"{source.schema}://{source.path}" for source in found]
        # unresolved: `out='${loop.name}'` is a reference of the config, not of this list
        words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        made = cls(words, searchpath, str(hydra.job.config_name))
        made._composed[()] = Composition.of(composed)
        return made

    def sets(self, key: str) -> bool:
        """Was this key given a value on the command line."""
        return any(word.partition("=")[0].lstrip("+") == key for word in self.overrides)

    def options(self, key: str) -> list[str]:
        """The options of a config group; empty where the key is none."""
        group = key.lstrip("+").partition("@")[0]
        if group not in self._options:
            register()
            self._options[group] = [] if "." in group else options(group, self.searchpath, self.name)
        return self._options[group]

    def composition(self, point: Point) -> Composition:
        """What Hydra composes for the groups of a point, once for all points of the same groups."""
        words = _words({k: v for k, v in point.items() if self._is_group(k, v)})
        if words not in self._composed:
            register()
            self._composed[words] = Composition([*self.overrides, *words], self.searchpath, self.name)
        return self._composed[words]

    def __call__(self, point: Point) -> tuple[TrainConf, ModelConf]:
        """Train and model config of a point; ConfigError or Hydra's own error where it names nothing."""
        groups = _words({k: v for k, v in point.items() if self._is_group(k, v)})
        keys = {k: v for k, v in point.items() if not self._is_group(k, v)}
        composition = self.composition(point)
        if not (composition.alone and all(map(composition.lies_within, keys))):
            config = compose_config([*self.overrides, *_words(point)], self.searchpath, self.name)
            return config.train, config.model
        with composition.having(_words(keys)) as root:
            if groups not in self._sound:
                config = to_config(root)
                self._sound.add(groups)
                return config.train, config.model
            for part in OF_A_TRIAL:
                _check(root[part], part)
            train: Any = OmegaConf.to_object(root.train)
            return train, _model(OmegaConf.to_object(root.model))

    def _is_group(self, key: str, value: Any) -> bool:
        return not isinstance(value, dict) and bool(self.options(key))


def _words(point: Point) -> tuple[str, ...]:
    """A point as overrides."""
    return tuple(f"{key}={quote(value)}" for key, value in point.items())
