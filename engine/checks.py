"""What can be told from the config alone: found out before anything starts, so that a typo costs one line.

Each check raises ConfigError naming the key. What one value alone can say is checked where it is defined
(`__post_init__` of the conf classes); here values are held against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.act import ActConf
from engine.decide import POLICIES, DecideConf
from engine.errors import ConfigError
from engine.evaluate import EvaluateConf
from engine.gate import GateConf, RuleConf
from engine.records import Task
from engine.scores import check_metric, direction
from engine.train import paired
from engine.train.conf import SearchConf
from engine.train.search_space import Space, parse
from engine.train.searchers import begin

OF_A_TRIAL = ("train", "model")  # groups that a trial is made of
OF_THE_ROWS = ("train.windows", "train.validation")  # keys of them that every trial of a sweep shares


def check_metrics(task: Task, evaluate: EvaluateConf, search: SearchConf) -> None:
    """Every metric says something about the task, and the search looks for the better end of its own."""
    for metric in evaluate.metrics:
        check_metric(metric, task, "evaluate.metrics")
    check_metric(search.metric, task, "search.metric")
    _check_mode("search.mode", search.metric, search.mode)
    for metric, mode in search.further.items():
        check_metric(metric, task, "search.metrics")
        _check_mode("search.metrics", metric, mode)
    if search.scheduler == "paired":
        paired.check_metric(search.metric, task)


def _check_mode(key: str, metric: str, mode: str | None) -> None:
    right = direction(metric)
    if mode not in (None, right):
        cure = f"add {key}={right}" if key == "search.mode" else f"write {metric}:{right}, or {metric} alone"
        raise ConfigError(key, f"{mode} would choose the worst trial by {metric}", cure)


def check_searcher(search: SearchConf) -> None:
    """The searcher can search this space, with the packages that are installed."""
    begin(search, Space.of(search.space), None)


def check_space(space: Mapping[str, str]) -> None:
    """The space can be read, and each of its keys makes a difference to a trial."""
    for key, expression in space.items():
        parse(key, expression)
        where = f"search.space:{key}"
        if key.split(".")[0].split("/")[0] not in OF_A_TRIAL:
            cure = "search keys of train and model; a list of values is written [a,b]"
            raise ConfigError(where, "this is no key of a trial", cure)
        if key in OF_THE_ROWS:
            raise ConfigError(where, "all trials of a sweep share their rows", "compare values of it loop by loop")


def check_gate(gate: GateConf, shadow_windows: int, evaluate: EvaluateConf, slices: Iterable[str]) -> None:
    """No rule waits for something that is never evaluated: such a gate would never open."""
    if all(rule.kind != "floor" for rule in gate.rules.values()):
        what = "there is no floor, and the first model is judged by its floors alone"
        raise ConfigError("gate.rules", what, "add a rule such as floor: {kind: floor, metric: ..., threshold: ...}")
    if shadow_windows and not gate.shadow:
        what = f"there is no rule, and promote.shadow_windows is {shadow_windows}"
        raise ConfigError("gate.shadow", what, "add a rule, or set promote.shadow_windows=0")
    for group, rules in (("rules", gate.rules), ("shadow", gate.shadow)):
        for name, rule in rules.items():
            _check_rule(f"gate.{group}.{name}", rule, evaluate, tuple(slices))


def _check_rule(where: str, rule: RuleConf, evaluate: EvaluateConf, slices: tuple[str, ...]) -> None:
    if rule.metric not in evaluate.metrics:
        cure = f"add it there, or choose one of {', '.join(evaluate.metrics)}"
        raise ConfigError(f"{where}.metric", f"{rule.metric!r} is not in evaluate.metrics", cure)
    if rule.slice is not None and rule.slice not in slices:
        raise ConfigError(f"{where}.slice", f"{rule.slice!r} is not in data.slices", "add it there")
    if rule.slice is not None and rule.metric != evaluate.primary:
        what = f"slices are evaluated by {evaluate.primary} alone"
        raise ConfigError(f"{where}.metric", what, f"use it, or set evaluate.primary={rule.metric}")


def check_decide(decide: DecideConf) -> None:
    """The policy is known."""
    if decide.policy not in POLICIES:
        cure = f"choose one of {', '.join(sorted(POLICIES))}"
        raise ConfigError("decide.policy", f"{decide.policy!r} is unknown", cure)


def check_act(act: ActConf, metrics: Iterable[str]) -> None:
    """Every rule on the model watches a metric that is evaluated: an alarm on another one would never ring."""
    evaluated = tuple(metrics)
    for name, rule in act.rules.items():
        family, _, rest = rule.metric.partition(".")
        if family == "model" and rest.removesuffix(".low").removesuffix(".high") not in evaluated:
            cure = f"choose one of {', '.join(evaluated)}, with .low or .high behind it for a bound"
            raise ConfigError(f"act.rules.{name}.metric", f"{rest!r} is not in evaluate.metrics", cure)
