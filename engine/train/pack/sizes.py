"""How many trials train at once where they train in packs. No heavy import: the driver of Ray reads this file."""

from __future__ import annotations

from engine.train.conf import SearchConf

MOST = 64  # trials of a pack, where nobody says how many
SHARE = 8  # tpe, gp: one in so many trials at once; more would be drawn before the others have told anything


def size(conf: SearchConf) -> int:
    """Trials of a pack."""
    wanted = _wanted(conf)
    return min(wanted, conf.max_concurrent or wanted)


def at_once(conf: SearchConf, packs: int) -> int:
    """Trials of so many packs together; a searcher that learns has no more of them at once than in one pack, unless
    packs would stay empty.
    """
    wanted = _wanted(conf)
    together = max(packs, wanted) if conf.pack == "auto" and _learns(conf) else packs * wanted
    return min(together, conf.max_concurrent or together)


def _wanted(conf: SearchConf) -> int:
    if conf.pack != "auto":
        return int(conf.pack)
    return min(MOST, max(1, conf.num_samples // SHARE)) if _learns(conf) else MOST


def _learns(conf: SearchConf) -> bool:
    return conf.searcher in ("tpe", "gp")
