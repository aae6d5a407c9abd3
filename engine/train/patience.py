"""How often a trial is tried again: its own faults are counted apart from what was done to it.

A worker that ends under a trial is first taken as taken away (a spot machine, somebody's kill): the trial goes on
elsewhere, from its checkpoint, and none of its `max_failures` is used. But the kernel kills what needs too much memory
in the same way, without a word; it will do so again in the same epoch. So the second end in a row without an epoch in
between is a fault of the trial, and so is an end that Ray itself has put down to memory. `max_preemptions` bounds the
rest: machines that come and go for ever.
"""

from __future__ import annotations

LAST_NOTES = 8  # of what was done to a trial, that its record keeps


class Patience:
    """With one trial, within one command."""

    def __init__(self, max_failures: int, max_preemptions: int) -> None:
        self.max_failures, self.max_preemptions = max_failures, max_preemptions
        self.failures = self.preemptions = 0
        self._epoch = -1  # after which a worker ended last
        self._in_a_row = 0

    def failed(self) -> bool:
        """The trial failed by itself; True where it is tried again."""
        self.failures += 1
        self._in_a_row = 0
        return self.failures <= self.max_failures

    def taken_away(self, epoch: int, *, memory: bool = False) -> str:
        """A worker ended under the trial after `epoch` of its epochs; why it is given up now, empty where it goes on.

        memory: Ray says that it was too little of it.
        """
        self._in_a_row = self._in_a_row + 1 if epoch == self._epoch else 1
        self._epoch = epoch
        if memory or self._in_a_row == 2:
            self._in_a_row = 0
            if self.failed():
                return ""
            why = "the machine ran out of memory" if memory else "perhaps for want of memory"
            return f"its worker died in epoch {epoch + 1}, again and again: {why}"
        return self.preempted()

    def preempted(self) -> str:
        """Its worker was taken away, and the trial is not to blame; why it is given up now, empty where it goes on."""
        self.preemptions += 1
        if self.preemptions <= self.max_preemptions:
            return ""
        return f"its worker was taken away {self.preemptions} times: more than search.max_preemptions"
