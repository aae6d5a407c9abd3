"""Takes back what an action item did, where that can be: a person's word, recorded when it is done.

    freeze       promotions are thawed
    fallback     the model that stepped aside comes back, the fallback is retired again
    retrain      (retune) the next decision is not asked any more; one that was made cannot be taken back
    quarantine   the window is used again
    rollback     cannot be: a model that was rolled back is in quarantine, and comes back through the gates alone

What has been changed since by somebody else is left as it is: the undo is refused, with the reason. Each is done under
an id that is a hash of the action, so that doing it twice, or again after a kill, does it once.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import InputError
from engine.promote.entries import DECISION
from engine.promote.ledger import Ledger
from engine.promote.rollback import fall_back
from engine.promote.store import Store
from engine.records import Acted, Done, Quarantine, Request, Stage, Word, digest, from_plain, to_plain
from engine.records.items import ACTED, FREEZE, QUARANTINE, REQUEST, UNDONE


def undo(ledger: Ledger, store: Callable[[], Store], acted: Acted, *, by: str, note: str) -> tuple[Word, str]:
    """Take one action back; what was recorded, and in words what was done.

    Args:
        store: opens the artifacts, where they are needed.

    Raises:
        InputError: nothing was done, it cannot be undone, or others have changed it since.
    """
    if acted.state is not Done.DONE:
        raise _refused(acted, f"nothing was done ({acted.state.value})", "there is nothing to undo")
    key = digest("undo", acted.id)
    said = _UNDO[acted.action](ledger, store, acted, key, by, note) if ledger.find(key) is None else _SAID[acted.action]
    word = Word(of=acted.id, by=by, note=note)
    row = ledger.append(UNDONE, digest(UNDONE, acted.id), to_plain(word))
    return from_plain(Word, row.payload), said


def _thaw(ledger: Ledger, store: Callable[[], Store], acted: Acted, key: str, by: str, note: str) -> str:
    newest = ledger.rows(FREEZE)[-1]
    if not newest.payload["frozen"]:
        raise _refused(acted, f"{newest.payload['actor']} has thawed promotions since", "there is nothing to undo")
    if digest(ACTED, newest.id) != acted.id:
        cure = "thaw it all: tidegate promote thaw=true actor=<you> reason='...'"
        raise _refused(acted, f"promotions were frozen once more since: {newest.payload['reason']}", cure)
    ledger.append(FREEZE, key, {"frozen": False, "reason": note, "actor": by})
    return _SAID["freeze"]


def _back(ledger: Ledger, store: Callable[[], Store], acted: Acted, key: str, by: str, note: str) -> str:
    head = ledger.head(Stage.PRODUCTION)
    if head is None or head.model != acted.model:
        now = f"{head.model[:12]} is" if head else "nothing is"
        raise _refused(acted, f"{now} in production by now, and not the fallback", "there is nothing to undo")
    fall_back(ledger, store(), to=acted.displaced, reason=note, actor=by, id=key)
    return _SAID["fallback"]


def _take_back(ledger: Ledger, store: Callable[[], Store], acted: Acted, key: str, by: str, note: str) -> str:
    asked = next(row for row in ledger.rows(REQUEST) if row.payload["of"] == acted.id)
    spent = next((row for row in ledger.rows(DECISION) if row.seq > asked.seq), None)
    if spent is not None:
        what = f"{spent.window} was decided on since: {spent.payload['action']}"
        raise _refused(acted, what, "the gates decide on what it has trained")
    request = Request(of=acted.id, action="", reason=note, actor=by)
    ledger.append(REQUEST, key, to_plain(request))
    return _SAID[acted.action]


def _let_in(ledger: Ledger, store: Callable[[], Store], acted: Acted, key: str, by: str, note: str) -> str:
    again = Quarantine(window=acted.window, of=acted.id, out=False, reason=note, actor=by)
    ledger.append(QUARANTINE, key, to_plain(again))
    return _SAID["quarantine"]


def _cannot(ledger: Ledger, store: Callable[[], Store], acted: Acted, key: str, by: str, note: str) -> str:
    model = acted.displaced[:12]
    cure = f"let the gates decide: tidegate promote artifact={model} stage=candidate actor=<you> reason='...'"
    raise _refused(acted, f"{model} is quarantined, and nothing brings a quarantined model straight back", cure)


def _refused(acted: Acted, what: str, cure: str) -> InputError:
    return InputError(f"undo:{acted.action} of {acted.window}", what, cure)


_UNDO = {
    "freeze": _thaw,
    "fallback": _back,
    "retrain": _take_back,
    "retune": _take_back,
    "quarantine": _let_in,
    "rollback": _cannot,
}
_SAID = {
    "freeze": "promotions are thawed",
    "fallback": "the model that had stepped aside is in production again",
    "retrain": "the next decision is not asked to retrain any more",
    "retune": "the next decision is not asked to tune anew any more",
    "quarantine": "the window is used again",
}
