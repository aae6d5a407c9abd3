"""A process that runs a loop under a lease, as told line by line: for test_lease.

    python -m tests.engine.promote.holder <url> <seconds of the lease> <machine, or here>

It says one JSON list a line: ["waiting", line], ["held", generation], then, for each id that it reads, ["wrote", id] or
["refused", line]. The end of its input ends it.
"""

from __future__ import annotations

import json
import sys

from engine.errors import LeaseError
from engine.promote import lease
from engine.promote.ledger import Ledger


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


def main(url: str, seconds: float, machine: str) -> None:
    if machine != "here":
        lease.machine = lambda: machine  # type: ignore[assignment]
    with (
        Ledger.open(url, "world") as ledger,
        ledger.leased(seconds, wait=None, say=lambda line: say("waiting", line)) as held,
    ):
        say("held", held.generation)
        for line in sys.stdin:
            try:
                say("wrote", ledger.append("decision", line.strip(), {}).id)
            except LeaseError as error:
                say("refused", str(error))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
