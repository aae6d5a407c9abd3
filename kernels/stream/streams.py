"""F streams that are read chunk by chunk: what every detector and every confidence sequence has in common.

Shapes: M rows of a chunk, F streams. A stream is a row of numbers of state, so that a checkpoint is one array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from kernels import dispatch
from kernels.arrays import Array, as_native, as_table, common_working, working_dtype
from kernels.errors import OptionError, ShapeError, StateError

FORMAT = "tidegate-stream"
VERSION = 1
Rule = tuple[str, Callable[[float], bool]]
"""What an option must be, in words and as a test."""

FINITE: Rule = ("a finite number", math.isfinite)
POSITIVE: Rule = ("a number above 0", lambda v: 0 < v < math.inf)
NOT_NEGATIVE: Rule = ("0 or more", lambda v: 0 <= v < math.inf)
CHANCE: Rule = ("a number between 0 and 1", lambda v: 0 < v < 1)
COUNT: Rule = ("a whole number of 1 or more", lambda v: 1 <= v < math.inf and v == int(v))


@dataclass(frozen=True, slots=True, eq=False)
class Alarms:
    """Alarms of one chunk, by row, then by column; arrays of one length on the host."""

    row: Any
    """int64: the place in the stream, counted from its first value, NaN included."""
    column: Any
    """int64: which stream."""
    side: Any
    """int8: +1 where the values rose, -1 where they fell."""

    def __len__(self) -> int:
        return len(self.row)

    def of(self, column: int) -> Any:
        """int64: the rows of the alarms of one stream."""
        return self.row[self.column == column]


class Streams:
    """Base of detectors and sequences over `columns` streams. It changes with every `update`.

    An option is a number, or (F,) numbers, one a stream. NaN policy: a NaN is skipped, counted in `missing`, and still
    has its row number. Values are read as float64; integers above 2**53 are refused. No CUDA form: a stream is read one
    value after the other, which a GPU does slower. Columns run in parallel threads that hold no lock.
    Errors: ShapeError, DTypeError, OptionError for an option or a value that cannot be; after an error nothing has
    changed.
    """

    KIND: ClassVar[str] = ""
    STATE: ClassVar[Mapping[str, float]] = {}
    """Names of the numbers of state of a stream, and what they are at first."""
    RULES: ClassVar[Mapping[str, Rule]] = {}
    """Options that are numbers, in the order of `_params`."""
    SPAN: ClassVar[tuple[float, float]] = (-1.7976931348623157e308, 1.7976931348623157e308)
    """Smallest and largest value that is taken."""
    RESTARTS: ClassVar[bool] = True
    """Does a stream begin anew after its alarm."""
    _kinds: ClassVar[dict[str, type[Streams]]] = {}

    def __init_subclass__(cls) -> None:
        Streams._kinds[cls.KIND] = cls

    def __init__(self, columns: int, backend: str, options: dict[str, Any]) -> None:
        if columns < 1:
            raise OptionError(f"columns: {columns} - choose 1 or more")
        self.columns, self.backend = columns, backend
        self.options = {name: self._checked(name, value) for name, value in options.items()}
        self._parameters = self._params()
        self._fresh = self._initial()
        self._state = np.tile(self._fresh, (columns, 1))
        self.rows = 0
        """Values of a stream so far, NaN included."""
        self.missing = np.zeros(columns, np.int64)
        """(F,) int64: NaN that were skipped."""
        dispatch.backend_for(np.empty(0), backend=backend)

    def _checked(self, name: str, value: Any) -> Any:
        if name not in self.RULES:
            return value
        words, fine = self.RULES[name]
        numbers = np.asarray(value, np.float64)
        if numbers.shape not in ((), (self.columns,)):
            raise OptionError(
                f"{name}: shape {numbers.shape} - pass a number, or one for each of {self.columns} streams"
            )
        for number in numbers.reshape(-1).tolist():
            if not fine(number):
                raise OptionError(f"{name}: {number:g} - choose {words}")
        return numbers.tolist()

    def _params(self) -> Any:
        """(F, P) float64 parameters as the primitive takes them."""
        rows = [np.broadcast_to(np.asarray(self.options[name], np.float64), self.columns) for name in self.RULES]
        return np.column_stack(rows)

    def _initial(self) -> Any:
        """(S,) float64 state of a stream that has seen nothing."""
        return np.array(list(self.STATE.values()), np.float64)

    def update(self, x: Array) -> Alarms:
        """Take the next chunk, (M,) for one stream or (M, F)."""
        native = as_native(x, "x")
        module = dispatch.implementation("stream", native, backend=self.backend).module
        table = as_table(native, "x")
        if table.shape[1] != self.columns:
            raise ShapeError(f"x: shape {tuple(native.shape)} - pass (M, {self.columns}), one column a stream")
        if working_dtype(table.dtype, "x").kind != "f":
            table = common_working(table, np.empty(0), "x", "state")[0]
        state = self._state.copy()
        fresh = self._fresh if self.RESTARTS else None
        found = module.advance(self.KIND, table, state, self._parameters, fresh, self.rows, self.SPAN)
        if (found.refused >= 0).any():
            column = int(np.argmax(found.refused >= 0))
            value = float(table[int(found.refused[column]) - self.rows, column])
            span = f"within {self.SPAN[0]:g} and {self.SPAN[1]:g}" if math.isfinite(value) else "finite"
            raise OptionError(f"x: {value:g} in column {column} is not {span} - clip it, or pass NaN to skip it")
        self._state, self.missing, self.rows = state, self.missing + found.missing, self.rows + table.shape[0]
        return _alarms(found.rows, found.sides)

    def with_options(self, **changes: Any) -> Self:
        """The same with other options, and nothing seen yet."""
        return type(self)(self.columns, backend=self.backend, **(self.options | changes))

    def state(self) -> tuple[str, dict[str, Any]]:
        """A checkpoint: a JSON header, and arrays by name, as `numpy.savez` and safetensors take them."""
        header = {
            "format": FORMAT, "version": VERSION, "kind": self.KIND, "columns": self.columns, "rows": self.rows,
            "backend": self.backend, "options": self.options,
        }  # fmt: skip
        return json.dumps(header), {"state": self._state.copy(), "missing": self.missing.copy()}

    def _named(self, name: str) -> Any:
        """(F,) one number of the state."""
        return self._state[:, list(self.STATE).index(name)].copy()


def from_state(header: str, arrays: Mapping[str, Any]) -> Any:
    """The detector or sequence of a checkpoint, to go on with; StateError where it cannot be read."""
    try:
        told = json.loads(header)
        if (told["format"], told["version"]) != (FORMAT, VERSION):
            raise ValueError("another format or version")
        kind, columns, options = Streams._kinds[told["kind"]], int(told["columns"]), dict(told["options"])
        streams: Any = kind(columns, backend=told["backend"], **options)
        state, missing = np.array(arrays["state"], np.float64), np.array(arrays["missing"], np.int64)
        if state.shape != streams._state.shape or missing.shape != (columns,):
            raise ValueError(f"shapes {state.shape} and {missing.shape}")
        streams._state, streams.missing, streams.rows = state, missing, int(told["rows"])
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise StateError(f"state: cannot be read ({error}) - pass what state() gave") from error
    return streams


def _alarms(rows: list[Any], sides: list[Any]) -> Alarms:
    row, side = np.concatenate(rows), np.concatenate(sides)
    column = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    order = np.lexsort((column, row))
    return Alarms(row[order], column[order], side[order])
