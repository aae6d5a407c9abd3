"""Arguments of resampling: labels and the scores of one or two models, on one device, aligned and cleaned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.arrays import (
    Array,
    as_native,
    check_ndim,
    check_option,
    check_same_length,
    common_device,
    missing_rows,
    namespace,
    refuse_missing,
)
from kernels.dispatch import backend_for
from kernels.errors import DTypeError, OptionError
from kernels.measures.labels import binary_codes

NAN_POLICIES = ("raise", "omit")


@dataclass(frozen=True, slots=True)
class Paired:
    """Rows that all arguments share; scores holds one array, or two for a paired comparison."""

    y_true: Any
    scores: list[Any]
    keys: Any  # uint64 (N,): what the weights are keyed by; None for the position
    slices: dict[str, Any]  # integer codes (N,) by slicing column
    clustered: bool
    missing: int
    backend: str
    xp: Any

    @property
    def ids(self) -> Any:
        """uint64 (N,): what the weights are keyed by."""
        return self.xp.arange(self.y_true.shape[0], dtype=np.uint64) if self.keys is None else self.keys

    def labels(self, *, alone: bool = False) -> Any:
        """Two labels as uint8 codes, the greater one 1; see binary_codes."""
        return binary_codes(self.y_true, self.backend, alone=alone)


def paired(
    y_true: Array, y_score: Array, other: Array | None = None, *, slices: Any = None,
    cluster: Array | None = None, row_ids: Array | None = None, nan_policy: str = "raise",
    backend: str | None = None,
) -> Paired:  # fmt: skip
    """Check and align; a row with a NaN in the labels or in either model's score is refused or left out of
    both."""
    check_option(nan_policy, "nan_policy", NAN_POLICIES)
    columns = _columns(slices)
    given = [x for x in (y_true, y_score, other, cluster, row_ids, *columns.values()) if x is not None]
    chosen = backend_for(*given, backend=backend)
    xp = namespace(common_device(*given))
    true = as_native(y_true, "y_true")
    scores = [as_native(s, name) for s, name in ((y_score, "y_score"), (other, "other")) if s is not None]
    for score, name in zip(scores, ("y_score", "other"), strict=False):
        check_ndim(score, name, 1, 2)
    codes = {name: integers(x, f"slices[{name!r}]") for name, x in columns.items()}
    keys = cluster if cluster is not None else row_ids
    lengths = {"y_true": true, "y_score": scores[0], "other": scores[1] if len(scores) > 1 else None}
    n = check_same_length(**lengths, **{f"slices_{name}": x for name, x in codes.items()})
    ids = None
    if keys is not None:
        ids = integers(keys, "cluster" if cluster is not None else "row_ids").astype(np.uint64)
        check_same_length(y_true=true, ids=ids)
    lost = _missing(true, *scores)
    missing = 0 if isinstance(lost, bool) else int(lost.sum())  # synchronises
    if missing:
        if nan_policy == "raise":
            refuse_missing(missing, "y_true, y_score, other")
        kept = ~lost
        ids = (xp.arange(n, dtype=np.uint64) if ids is None else ids)[kept]
        true, scores = true[kept], [s[kept] for s in scores]
        codes = {name: x[kept] for name, x in codes.items()}
    return Paired(true, scores, ids, codes, cluster is not None, missing, chosen, xp)


def host(x: Any) -> Any:
    """x on the host; on CUDA this waits for the device. # synchronises"""
    return x.get() if type(x).__module__.partition(".")[0] == "cupy" else np.asarray(x)


def distinct(codes: Any, xp: Any) -> tuple[Any, Any, Any]:
    """The distinct codes ascending, on the host; each row's place among them, int64 (N,); and their rows, on the host.

    A table serves codes of a narrow range, a sort all others. # synchronises
    """
    if codes.shape[0]:
        low, high = int(codes.min()), int(codes.max())
        if high - low <= 4 * codes.shape[0]:
            moved = codes - low
            counts = np.bincount(moved)
            place = np.cumsum(counts > 0) - 1
            rows = host(counts)
            present = np.flatnonzero(rows)
            return present + low, place[moved], rows[present].astype(np.int64)
    values, index, rows = xp.unique(codes, return_inverse=True, return_counts=True)
    return host(values), index.reshape(-1).astype(np.int64), host(rows).astype(np.int64)


def check_resamples(n_resamples: int, seed: int) -> None:
    """OptionError for fewer than one resample, or for a seed that is not a 64-bit unsigned integer."""
    if n_resamples < 1:
        raise OptionError(f"n_resamples: {n_resamples} - pass at least 1; 2000 or more for interval bounds")
    if not 0 <= seed < 1 << 64:
        raise OptionError(f"seed: {seed} - pass an integer of 0 to 2**64 - 1")


def _columns(slices: Any) -> dict[str, Array]:
    if slices is None:
        return {}
    return dict(slices) if isinstance(slices, Mapping) else {"slice": slices}


def integers(x: Array, name: str) -> Any:
    """Codes (N,) as int64 on their device; DTypeError for what is not an integer."""
    native = as_native(x, name)
    check_ndim(native, name, 1)
    if native.dtype.kind not in "biu":
        raise DTypeError(f"{name}: dtype {native.dtype} - pass integer codes")
    return native.astype(np.int64, copy=False)


def _missing(*arrays: Any) -> Any:
    """Rows (N,) with a NaN in any of the arrays, or False when there is none."""
    missing: Any = False
    for x in arrays:
        if x.dtype.kind == "f":
            missing = missing | missing_rows(x)
    return missing
