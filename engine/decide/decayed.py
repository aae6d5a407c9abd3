"""What a decay that monitoring has shown (engine/monitor/decay.py) adds to a decision.

The plan weighs all windows by a belief, and the newest one alone says what was lost. A drop that is shown is no doubt
of either: the first attempt that can learn from its windows is valued as the first attempts of all are (costs.py), by
the points that are shown, where that is more than the plan expects. Once such an attempt was made, the plan has learned
from it, and decides again.
"""

from __future__ import annotations

from engine.decide import costs
from engine.decide.conf import DecideConf
from engine.decide.evidence import Evidence
from engine.records import Money, standard_error


def waits(evidence: Evidence) -> bool:
    """Is a decay shown, windows of it there to train on, and no attempt made with them yet."""
    if evidence.decayed is None or evidence.decayed_at is None or not evidence.track:
        return False
    lag = evidence.index - evidence.track[-1].window  # an attempt's hold-out is the newest labelled window
    learned = [attempt.index - lag - 1 for attempt in evidence.attempts if not attempt.recalibrated]
    return evidence.index - lag - 1 >= evidence.decayed_at > max(learned, default=-1)


def points(evidence: Evidence, conf: DecideConf) -> Money:
    """That a retrain would bring back of what is shown."""
    assert evidence.decayed is not None  # waits() came before
    lost = Money(mean=evidence.decayed.value, std=standard_error(evidence.decayed))
    return costs.product(Money(mean=conf.recovered, std=conf.recovered_std), lost)


def sentence(evidence: Evidence) -> str:
    """What is shown, behind the points that were lost on the newest window; empty: nothing."""
    if evidence.decayed is None:
        return ""
    found = evidence.decayed
    said = f"; {found.value:.1f} points below its reference are shown over {found.n} windows"
    return said if waits(evidence) else f"{said}, and an attempt has learned from them or cannot yet"
