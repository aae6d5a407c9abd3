"""Stage 4, decide: is acting worth it. Pure functions of reports, history, costs and the window's place in time.

costs.py what waiting and acting cost, as distributions; policies.py which action that makes worth taking.
"""

from engine.decide.costs import Attempt, DecideConf, Evidence
from engine.decide.policies import POLICIES, decide

__all__ = ["POLICIES", "Attempt", "DecideConf", "Evidence", "decide"]
