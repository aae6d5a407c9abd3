"""What can be told from the config alone: found out before anything starts, so that a typo costs one line.

Each check raises ConfigError naming the key. What one value alone can say is checked where it is defined
(`__post_init__` of the conf classes); here values are held against each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.act import NOBODY, ActConf
from engine.data.conf import DataConf
from engine.decide import POLICIES, DecideConf
from engine.effects import make_channels
from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.gate import COLD, GateConf, RuleConf
from engine.promote.conf import PromoteConf
from engine.records import Task
from engine.scoring.scores import GREATER_IS_BETTER, check_metric, direction, says_something
from engine.train.conf import SearchConf
from engine.train.population import check_space as check_population
from engine.train.search_space import Space
from engine.train.searchers import begin

OF_A_TRIAL = ("train", "model")  # groups that a trial is made of: a point sets keys in them alone
OF_THE_ROWS = ("train.windows", "train.validation")  # keys of them that every trial of a sweep shares


def check_metrics(task: Task, evaluate: EvaluateConf, search: SearchConf) -> None:
    """Every metric says something about the task, and the search looks for the better end of its own."""
    if evaluate.primary in GREATER_IS_BETTER and not says_something(evaluate.primary, task):
        what = f"{evaluate.primary!r} is no metric of a {task.value} model"  # the groups were left at their default
        raise ConfigError("evaluate.primary", what, f"add evaluate={task.value} gate={task.value}")
    for metric in evaluate.metrics:
        check_metric(metric, task, "evaluate.metrics")
    check_metric(search.metric, task, "search.metric")
    _check_mode("search.mode", search.metric, search.mode)
    for metric, mode in search.further.items():
        check_metric(metric, task, "search.metrics")
        _check_mode("search.metrics", metric, mode)
    if search.scheduler == "paired":
        from engine.train import paired

        paired.check_metric(search.metric, task)


def _check_mode(key: str, metric: str, mode: str | None) -> None:
    right = direction(metric)
    if mode not in (None, right):
        cure = f"add {key}={right}" if key == "search.mode" else f"write {metric}:{right}, or {metric} alone"
        raise ConfigError(key, f"{mode} would choose the worst trial by {metric}", cure)


def check_searcher(search: SearchConf, space: Space) -> None:
    """The searcher can search this space, with the packages that are installed."""
    begin(search, space, None)
    if search.scheduler == "pbt":
        check_population(space)


def check_space(keys: Iterable[str]) -> None:
    """Each searched key makes a difference to a trial."""
    for key in keys:
        where = f"search.space:{key}"
        bare = key.lstrip("+")
        if bare.split(".")[0].split("/")[0] not in OF_A_TRIAL:
            cure = "search keys of train and model; a list of values is written [a,b]"
            raise ConfigError(where, "this is no key of a trial", cure)
        if bare in OF_THE_ROWS:
            raise ConfigError(where, "all trials of a sweep share their rows", "compare values of it loop by loop")


def check_gate(gate: GateConf, promote: PromoteConf, evaluate: EvaluateConf, data: DataConf) -> None:
    """No rule waits for something that is never evaluated: such a gate would never open."""
    if all(rule.kind != "floor" for rule in gate.rules.values()):
        what = "there is no floor, and the first model is judged by its floors alone"
        raise ConfigError("gate.rules", what, "add a rule such as floor: {kind: floor, metric: ..., threshold: ...}")
    if promote.shadow_windows and not gate.shadow:
        what = f"there is no rule, and promote.shadow_windows is {promote.shadow_windows}"
        raise ConfigError("gate.shadow", what, "add a rule, or set promote.shadow_windows=0")
    if gate.cold and not promote.cold_check:
        cure = "set promote.cold_check=true, or remove them"
        raise ConfigError("gate.cold", "has rules, and promote.cold_check is false", cure)
    for group, rules in (("rules", gate.rules), ("shadow", gate.shadow), ("cold", gate.cold)):
        for name, rule in rules.items():
            where = f"gate.{group}.{name}"
            _check_rule(where, rule, evaluate, data)
            _check_widens(where, rule, gate, promote)


def _check_rule(where: str, rule: RuleConf, evaluate: EvaluateConf, data: DataConf) -> None:
    cold = where.startswith("gate.cold.")
    if rule.kind == "answers":
        raise ConfigError(f"{where}.kind", "answers are asked for in any case", "leave the rule out")
    if (rule.kind in COLD) is not cold:
        cure = "move it to gate.cold" if rule.kind in COLD else "move it to gate.rules or gate.shadow"
        raise ConfigError(f"{where}.kind", f"{rule.kind} is not measured there", cure)
    for name in rule.by:
        if name not in data.slices:
            raise ConfigError(f"{where}.slice", f"{name!r} is not in data.slices", "add it there")
    if rule.kind == "fairness":
        _check_fairness(where, rule, data.kind)
    elif rule.kind == "worst_slice":
        if evaluate.find_slices == 0:
            raise ConfigError(f"{where}.kind", "no slices are looked for", "set evaluate.find_slices=10, or remove it")
    elif not cold and rule.metric not in evaluate.metrics:
        cure = f"add it there, or choose one of {', '.join(evaluate.metrics)}"
        raise ConfigError(f"{where}.metric", f"{rule.metric!r} is not in evaluate.metrics", cure)
    if rule.kind == "robustness":
        _check_robustness(where, rule, data)


def _check_widens(where: str, rule: RuleConf, gate: GateConf, promote: PromoteConf) -> None:
    """Several looks, and a divided alpha, need intervals of another level than the one that was measured."""
    looks = where.startswith("gate.shadow.") and promote.shadow_windows > 1
    spent = where.startswith("gate.rules.") and gate.wear == "spend"
    if (looks or spent) and not rule.widens and rule.kind != "worst_slice":
        what = f"the interval of {rule.metric} cannot be widened to {'a look' if looks else 'a part of alpha'}"
        cure = "move it to gate.rules, or set promote.shadow_windows=1" if looks else "set gate.wear=refuse or ladder"
        raise ConfigError(where, what, cure)


def _check_fairness(where: str, rule: RuleConf, task: Task) -> None:
    """Rates are of binary models; a regression has neither rates nor a calibration error."""
    usual = rule.metric != "calibration_within_groups"
    if task is Task.REGRESSION or (usual and task is not Task.BINARY):
        cure = "compare the groups by noninferiority with slice" if task is Task.REGRESSION else "use another metric"
        raise ConfigError(f"{where}.metric", f"{rule.metric} says nothing about a {task.value} model", cure)


def _check_robustness(where: str, rule: RuleConf, data: DataConf) -> None:
    """The columns are features, and a difference can be told."""
    if rule.margin == 0:
        raise ConfigError(f"{where}.margin", "no loss at all is allowed: it would never pass", "choose more than 0")
    features = data.numeric if rule.perturbation == "noise" else [*data.numeric, *data.categorical]
    for name in rule.columns:
        if name not in features:
            group = "data.numeric" if rule.perturbation == "noise" else "the features"
            cure = f"choose one of {', '.join(features)}" if features else "choose another perturbation"
            raise ConfigError(f"{where}.columns", f"{name!r} is not in {group}", cure)
    if rule.perturbation == "noise" and not data.numeric:
        raise ConfigError(f"{where}.perturbation", "there is no number to put noise on", "choose missing or shifted")
    if rule.perturbation == "shifted" and rule.metric == "expected_calibration_error":
        what = "the errors of two windows have biases of their own"
        raise ConfigError(f"{where}.metric", what, "use kind: calibration, or log_loss")


def check_decide(decide: DecideConf) -> None:
    """The policy is known."""
    if decide.policy not in POLICIES:
        cure = f"choose one of {', '.join(sorted(POLICIES))}"
        raise ConfigError("decide.policy", f"{decide.policy!r} is unknown", cure)


def check_act(act: ActConf, metrics: Iterable[str]) -> None:
    """Every rule on the model watches a metric that is evaluated: an alarm on another one would never ring;
    channels have names, and a fallback has an owner.
    """
    make_channels(act.channels)
    evaluated = tuple(metrics)
    for name, rule in act.rules.items():
        if "fallback" in rule.carried and rule.owner == NOBODY:
            what = "a fallback is the word of the rule's owner, and it has none"
            raise ConfigError(f"act.rules.{name}.owner", what, "say who: owner: <name>")
        family, _, rest = rule.metric.partition(".")
        if family == "model" and rest.removesuffix(".low").removesuffix(".high") not in evaluated:
            cure = f"choose one of {', '.join(evaluated)}, with .low or .high behind it for a bound"
            raise ConfigError(f"act.rules.{name}.metric", f"{rest!r} is not in evaluate.metrics", cure)
