"""What a backtest says in words: which policy was cheapest, by how much, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Sequence

from engine.records.contested import Contested, Line, Margin
from engine.report import words

FEW = 20  # pasts: with fewer, an interval is rough


def headline(found: Contested) -> str:
    """The cheapest policy with its cost, and what the oracle would have paid."""
    best = found.cheapest
    told = f" ({best.parameters})" if best.parameters else ""
    where = f"over {best.windows} windows" if found.unit == "windows" else f"a past of {best.windows} windows"
    ideal = f"knowing the future, {money(found.oracle.cost, found)}"
    return f"{found.past}: {best.policy}{told} would have been cheapest, {money(best.cost, found)} {where}; {ideal}"


def verdict(found: Contested) -> str:
    """Against the next one, and whom it is told apart from."""
    if not found.margins:
        return "it was alone"
    second = found.margins[0]
    said = f"{second.policy}, the next, would have cost {more(second, found)}"
    if not found.freedom:
        return f"{said}; whether that is more than noise cannot be told"
    apart = [margin.policy for margin in found.margins if margin.told_apart]
    equal = [margin.policy for margin in found.margins if not margin.told_apart]
    if not apart:
        return f"{said}; no difference is more than noise"
    if not equal:
        return f"{said}; it is cheaper than every other one, by more than noise"
    return f"{said}; more than noise separates it from {_listed(apart)}, and not from {_listed(equal)}"


def configured(found: Contested, policy: str) -> str:
    """How the policy of the config did; empty where it was not played."""
    if found.cheapest.policy == policy:
        return f"{policy}, the policy of this config, is the cheapest"
    margin = found.margin(policy)
    if margin is None:
        return ""
    sure = "more than noise" if margin.told_apart else "no more than noise"
    sure = "whether that is more than noise cannot be told" if margin.undecidable else sure
    return f"{policy}, the policy of this config, would have cost {more(margin, found)}: {sure}"


def promise(found: Contested) -> str:
    """What the intervals are, and what they are not."""
    level = f"{words.percent(found.confidence_level)} for all of them together"
    if found.unit == "pasts":
        few = "; with so few pasts they are rough" if found.units < FEW else ""
        return f"intervals: paired, Student's t over {found.units} simulated pasts, {level}{few}"
    if not found.freedom:
        return f"intervals: none, {found.units} windows of one past are too few to tell noise by"
    told = f"{found.freedom} degrees of freedom, alike as windows are in time"
    said = f"intervals: paired, Student's t over {found.units} windows of one past with {told}, {level}"
    return f"{said}; what another past would have made the policies do is not in them"


def aside(found: Contested) -> list[str]:
    """On what parameters were chosen, which windows were left out, and what the figures do not hold."""
    if found.tuned_on:
        told = f"parameters were chosen on {found.tuned_on[0]} to {found.tuned_on[-1]}, before the windows played"
        lines = [f"{told}: {found.names[0]} to {found.names[-1]}"]
    else:
        lines = [f"windows {found.names[0]} to {found.names[-1]}; the parameters are those of the config"]
    if found.left_out:
        lines.append(f"not fit for use, and left out: {', '.join(found.left_out)}")
    return [*lines, *found.remarks]


def more(margin: Margin, found: Contested) -> str:
    """`310 EUR more [-120, 740]`; as much, where nothing separates them anywhere."""
    if margin.more == margin.low == margin.high == 0:
        return "as much"
    if margin.undecidable:
        return f"{money(margin.more, found)} more"
    return f"{money(margin.more, found)} more {bounds(margin)}"


def bounds(margin: Margin) -> str:
    """`[-120, 740]`; nothing where there are none."""
    return "" if margin.undecidable else f"[{words.number(margin.low, 0)}, {words.number(margin.high, 0)}]"


def money(value: float, found: Contested) -> str:
    """`4,210 EUR`."""
    return f"{words.number(value, 0)} {found.currency}".rstrip()


def count(value: float) -> str:
    """A number of windows or attempts; of several pasts a mean, with a decimal."""
    return words.number(value, 0 if float(value).is_integer() else 1)


def columns(found: Contested) -> Sequence[str]:
    """The titles of the table: `more` than the cheapest, with its interval; parameters where some were chosen."""
    return ("policy", *(["parameters"] if any(line.parameters for line in found.lines) else []), *NUMERIC)


def cells(line: Line, found: Contested) -> Sequence[str]:
    """The cells of a policy under `columns`."""
    margin = found.margin(line.policy)
    return (
        line.policy,
        *([line.parameters] if "parameters" in columns(found) else []),
        words.number(line.cost, 0),
        words.number(line.regret, 0),
        words.number(margin.more, 0) if margin is not None else "",
        bounds(margin) if margin is not None else "",
        words.number(line.lost, 0),
        words.number(line.spent, 0),
        count(line.attempts),
        count(line.promoted),
        count(line.degraded),
    )


NUMERIC = ("cost", "regret", "more", "interval", "lost", "spent", "retrains", "promoted", "degraded")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
