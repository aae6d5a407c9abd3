"""Stage 4, decide: is acting worth it. Pure functions of reports, history, costs and the window's place in time.

conf.py and evidence.py what goes in; changes.py what has happened to the champion, plan.py what an attempt saves;
costs.py prices; scope.py how far an attempt goes, recalibrate.py the one that trains nothing; watchers.py, cara.py,
forecast.py, worth.py the policies; decayed.py what a decay that is shown adds; founding.py when to try again without a
champion; policies.py the guards, and what is made of a policy's word. learning.py, and parts of costs.py, are how
earlier releases decided: old ledgers are replayed by them.
"""

from engine.decide.conf import DecideConf
from engine.decide.evidence import PAST, Attempt, Evidence, Failed, Seen
from engine.decide.founding import shortfall
from engine.decide.policies import POLICIES, Choice, choose, decide

__all__ = [
    "PAST",
    "POLICIES",
    "Attempt",
    "Choice",
    "DecideConf",
    "Evidence",
    "Failed",
    "Seen",
    "choose",
    "decide",
    "shortfall",
]
