"""How many trials train at once where they train in packs. No heavy import: the driver of Ray reads this file."""

from __future__ import annotations

from engine.train.conf import SearchConf

MOST = 64  # trials of a pack on a CPU, where nobody says how many
ON_GPU = 1024  # on a GPU; fewer where its memory says so (room.py)
SHARE = 8  # tpe, gp: one in so many trials at once; more would be drawn before the others have told anything


def size(conf: SearchConf, *, gpu: bool = False) -> int:
    """Trials of a pack at most."""
    wanted = _wanted(conf, gpu)
    return min(wanted, conf.max_concurrent or wanted)


def at_once(conf: SearchConf, packs: int, *, gpu: bool = False) -> int:
    """Trials of so many packs together; a searcher that learns has no more of them at once than in one pack, unless
    packs would stay empty.
    """
    wanted = _wanted(conf, gpu)
    together = max(packs, wanted) if conf.pack == "auto" and _learns(conf) else packs * wanted
    return min(together, conf.max_concurrent or together)


def _wanted(conf: SearchConf, gpu: bool) -> int:
    if conf.pack != "auto":
        return int(conf.pack)
    most = ON_GPU if gpu else MOST
    return min(most, max(1, conf.num_samples // SHARE)) if _learns(conf) else most


def _learns(conf: SearchConf) -> bool:
    return conf.searcher in ("tpe", "gp")
