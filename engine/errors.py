"""What can go wrong, and what each thing costs the caller.

    TidegateError                 a fault with a name; exit code 1 unless a subclass says otherwise
    |-- InputError (ValueError)   bad input or config; exit code 2; one line `where: what - what to do`
    |   |-- ConfigError           a key, a value, an override
    |   |-- DataError             a window, a column, a label
    |   |   |-- LabelsError       labels that have not come yet
    |   |   `-- ClassError        labels of a class that nobody knows
    |   `-- ArtifactError         a model file that is missing, cut short or altered
    |-- ConflictError             a compare-and-swap was lost; the message says who won
    |   |-- OvertakenError        of a stage: somebody else moved a model first
    |   `-- LeaseError            of a whole loop: another process runs it
    `-- LedgerError               the record contradicts itself (broken chain, unknown schema)

Every InputError reads `file:field: what is wrong - what to do`, so that a person can act on the last line of a log. It
is one printable line whatever stood in the file that it is about: nothing in it moves a cursor or fills a screen.
"""

from __future__ import annotations

LONGEST = 300  # characters of one part of a line


def one_line(text: object, longest: int = LONGEST) -> str:
    """Text on one line: spaces for line ends, escapes for what cannot be printed, its middle left out where long."""
    words = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    return line if len(line) <= longest else f"{line[: longest * 2 // 3]}...{line[-(longest // 3 - 3) :]}"


class TidegateError(Exception):
    """Base of every error that Tidegate raises on purpose."""

    exit_code = 1

    def __init__(self, line: str = "") -> None:
        super().__init__(one_line(line, 3 * LONGEST))


class InputError(TidegateError, ValueError):
    """Something handed to us is wrong.

    Args:
        where: `file:field`, or the config key.
        what: what is wrong with it, in words.
        cure: what to do about it.
    """

    exit_code = 2

    def __init__(self, where: str, what: str, cure: str) -> None:
        self.where, self.what, self.cure = one_line(where), one_line(what), one_line(cure)
        super().__init__(f"{self.where}: {self.what} - {self.cure}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, ...]]:
        """Rebuild from the three parts: Ray carries errors between processes."""
        return type(self), (self.where, self.what, self.cure)


class ConfigError(InputError):
    """A config key or value that cannot be used."""


class DataError(InputError):
    """A window, column or label that cannot be used."""


class LabelsError(DataError):
    """Labels that have not come yet."""


class ClassError(DataError):
    """Labels of a class that nobody knows; `window` is the one whose labels they are, where that is known."""

    def __init__(self, where: str, what: str, cure: str, window: str = "") -> None:
        super().__init__(where, what, cure)
        self.window = window

    def __reduce__(self) -> tuple[type[InputError], tuple[str, ...]]:
        return type(self), (self.where, self.what, self.cure, self.window)


class ArtifactError(InputError):
    """A model artifact that is missing, cut short or altered."""


class ConflictError(TidegateError):
    """Somebody else changed the head first; nothing was written."""


class OvertakenError(ConflictError):
    """Somebody else moved a model first."""


class LeaseError(ConflictError):
    """Another process runs this loop."""


class LedgerError(TidegateError):
    """The ledger contradicts itself."""

    def __init__(self, line: str = "") -> None:
        super().__init__(line if " - " in line else f"{line} - put a copy of the ledger back")
