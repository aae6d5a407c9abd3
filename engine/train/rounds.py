"""Where the members of a population stand, on disk: `<job folder>/population.json`, written whole at every change.

A member trains one stretch, then it rests: it leaves a checkpoint of that very epoch and gives its place to the next
one, until all have come as far. Then a round takes place (population.py): whoever takes over gets the checkpoint of its
donor put into its folder, and only when all have theirs is the round written down, which is what begins the next
stretch. A kill before that repeats the round and finds the same; a kill after it finds it done. So a trial never goes
on from another epoch of its donor than the one that the donor was chosen for.

A member that failed rests as well, and takes over in the next round. One that a model of its own ended early has ended.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from engine.errors import ArtifactError
from engine.records import Epoch, Stretch, Trial, TrialState, from_plain, to_plain
from engine.system import durable
from engine.train.conf import SearchConf
from engine.train.naming import index_of
from engine.train.population import Takeover, takeovers
from engine.train.search_space import Point
from engine.train.sweep import SweepJob, TrialPlan, make_keeper

RECORD = "population.json"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One trial of the population as it stands in this round."""

    trial: str
    params: Point
    since: int = 0  # epochs that it had behind it when its stretch began
    curve: tuple[Epoch, ...] = ()  # of its weights: up to there, or to where it rests
    schedule: tuple[Stretch, ...] = ()
    seconds: float = 0.0  # that it took, where it failed
    rests: bool = False
    lost: bool = False  # it rests because it failed


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What population.json holds."""

    done: int  # epochs that every member has behind it
    members: tuple[Member, ...]
    takeovers: tuple[Takeover, ...] = ()  # of all rounds so far


class Rounds:
    """The rounds of one run of a sweep. All that is asked is answered from the record; InputError where the disk
    refuses.
    """

    def __init__(self, conf: SearchConf, job: SweepJob) -> None:
        assert job.population is not None
        self._conf, self._job, self._population = conf, job, job.population
        self._path = job.folder / RECORD
        self._sign = 1.0 if job.mode == "max" else -1.0
        found = self._read()
        self._done, self._takeovers = found.done, found.takeovers
        self._members = {member.trial: member for member in found.members}
        self._curves = {member.trial: list(member.curve) for member in found.members}

    def _read(self) -> Standing:
        """What is on disk; a population that has not begun where nothing whole is there, or where all had failed."""
        try:
            found = from_plain(Standing, json.loads(self._path.read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found = None
        if found is not None and not all(member.lost for member in found.members):
            return found
        begun = (
            Member(trial=p.id, params=p.params, schedule=(Stretch(after=0, trial=p.id, params=p.params),))
            for p in self._job.plans
        )
        return Standing(done=0, members=tuple(begun))

    def _write(self) -> None:
        standing = Standing(done=self._done, members=tuple(self._members.values()), takeovers=self._takeovers)
        durable.write_text(self._path, json.dumps(to_plain(standing), allow_nan=False))

    @property
    def _epochs(self) -> int:
        return self._job.plans[0].train.max_epochs

    @property
    def _next(self) -> int:
        """The epoch after which members rest; not below the last one in the last stretch."""
        return self._done + self._conf.perturbation_interval

    @property
    def last(self) -> bool:
        """No round follows any more."""
        return self._next >= self._epochs

    def resting(self, trial: str) -> bool:
        """Does this member wait for the others."""
        return self._members[trial].rests

    def lost(self, trial: str) -> bool:
        """Does it wait because it failed."""
        return self._members[trial].lost

    def stretches(self, trial: str) -> int:
        """How many stretches this member has before it, at most, the one that has begun among them."""
        ahead = math.ceil((self._epochs - self._done) / self._conf.perturbation_interval)
        return ahead - self._members[trial].rests

    def plan(self, trial: str) -> TrialPlan:
        """What this member trains next."""
        member, index = self._members[trial], index_of(trial)
        plan = self._job.plans[index]
        if member.params != plan.params:
            plan = self._population.plan(index, member.params)
        return replace(plan, since=member.since, schedule=member.schedule if len(member.schedule) > 1 else ())

    def after(self, trial: str, epoch: Epoch) -> bool:
        """An epoch ended: does the member rest now. Epochs before its stretch are told by nobody."""
        self._curves[trial][epoch.epoch - 1 :] = [epoch]
        return not self.last and epoch.epoch >= self._next

    def rests(self, trial: str) -> None:
        """The member has left a checkpoint of the epoch after which it had to rest."""
        self._set(replace(self._members[trial], curve=tuple(self._curves[trial]), rests=True))

    def fell(self, trial: Trial) -> None:
        """The member failed."""
        self._set(replace(self._members[trial.id], seconds=trial.seconds, rests=True, lost=True))

    def _set(self, member: Member) -> None:
        self._members[member.trial] = member
        self._write()

    def turn(self, ended: Iterable[str]) -> tuple[list[str], list[str]]:
        """The members that begin the next stretch, and those that have failed for good, once all rest but those that
        ended by themselves; two empty lists before that, and after the last stretch.
        """
        members = {trial: m for trial, m in self._members.items() if trial not in set(ended)}
        if not members or not all(member.rests for member in members.values()):
            return [], []
        done = self._next
        taken = self._taken_over(done, members)
        by = {takeover.trial: takeover for takeover in taken}
        gone = [trial for trial, member in members.items() if member.lost and trial not in by]
        for trial, member in members.items():
            donor = self._members[by[trial].donor] if trial in by else member
            schedule = donor.schedule
            if trial in by:
                schedule = (*schedule, Stretch(after=done, trial=trial, params=by[trial].params))
            members[trial] = Member(
                trial=trial,
                params=by[trial].params if trial in by else member.params,
                since=done,
                curve=donor.curve,
                schedule=schedule,
                rests=trial in gone,
                lost=trial in gone,
            )
        self._members |= members
        self._curves |= {trial: list(member.curve) for trial, member in members.items()}
        self._done, self._takeovers = done, self._takeovers + taken
        self._write()
        return [trial for trial in members if trial not in gone], gone

    def _taken_over(self, done: int, members: dict[str, Member]) -> tuple[Takeover, ...]:
        """Decide a round, and hand the checkpoints on. A donor whose checkpoint is not whole any more has failed."""
        found = self._decided(done, members)
        while broken := [donor for donor in {t.donor for t in found} if not self._whole(donor, done)]:
            members.update({donor: replace(members[donor], lost=True) for donor in broken})
            found = self._decided(done, members)
        for takeover in found:
            data = make_keeper(self._job, self.plan(takeover.donor)).bytes_of(done)
            plan = self._population.plan(index_of(takeover.trial), takeover.params)
            make_keeper(self._job, plan).adopt(data, seconds=members[takeover.trial].seconds)
        return found

    def _decided(self, done: int, members: dict[str, Member]) -> tuple[Takeover, ...]:
        lost = frozenset(trial for trial, member in members.items() if member.lost)
        values = {t: math.nan if t in lost else self._sign * m.curve[-1].value for t, m in members.items()}
        points = {trial: member.params for trial, member in members.items()}
        return takeovers(self._conf, self._population.domains, done, values, lost, points)

    def _whole(self, trial: str, epoch: int) -> bool:
        """Is there a checkpoint of this member after this very epoch."""
        try:
            make_keeper(self._job, self.plan(trial)).bytes_of(epoch)
        except ArtifactError:
            return False
        return True

    def unfinished(self, trial: str, reason: str) -> Trial:
        """The record of a member for which a budget has left nothing; its curve is empty where it has not begun."""
        plan, member = self.plan(trial), self._members[trial]
        numbers = [epoch for epoch in member.curve if math.isfinite(epoch.value)]
        best = max(numbers, key=lambda epoch: self._sign * epoch.value, default=None)
        return Trial(
            id=trial,
            params=plan.params,
            state=TrialState.STOPPED,
            reason=reason,
            curve=member.curve,
            best_epoch=best.epoch if best else 0,
            value=best.value if best else math.nan,
            seconds=sum(epoch.seconds for epoch in member.curve),
            config=plan.config,
            schedule=plan.schedule,
        )
