"""Policies on a past whose outcome is known: what each would have cost, and how far that is from the best.

hindsight.py what is known afterwards; streams.py pasts simulated with known truth; play.py a policy over a past, by
the code that decides in the loop; oracle.py the best plan; tuning.py parameters chosen on an earlier stretch;
contest.py all of them side by side; margins.py is the difference more than noise; simulated.py all this over simulated
pasts. Of real models: remaking.py makes them; kept.py what was measured, once; measured.py the past that it makes;
pace.py how long the rest will take. conf.py is what a person sets, engine/verbs/backtest.py the verb.
"""

from engine.backtest.contest import Line, contest
from engine.backtest.hindsight import Hindsight
from engine.backtest.measured import Measured
from engine.backtest.oracle import oracle
from engine.backtest.play import Played, Span, play, policy

__all__ = ["Hindsight", "Line", "Measured", "Played", "Span", "contest", "oracle", "play", "policy"]
