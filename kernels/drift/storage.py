"""A profile on disk: one .npz of plain arrays and a JSON header; nothing in it is executed when it is read.

Array i of the header's columns is stored under ``values_i``, ``edges_i`` and ``counts_i``; of a column that was
fitted in batches ``values_i`` holds the splitters, and ``rows_i`` the counts between them. Written under a
temporary name, flushed, and renamed, so that a reader sees the old file or the new one.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from kernels.drift.columns import CategoricalColumn, Column, HeldRows, NumericColumn, Sketch, order, to_host
from kernels.drift.profile import Profile
from kernels.errors import ProfileError

_FORMAT = "tidegate-profile"
_VERSION = 2


def save(profile: Profile, path: Path) -> None:
    """Write the profile; device columns are copied to the host first."""
    header: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    order([column for column in profile.columns if isinstance(column, NumericColumn)])
    for i, column in enumerate(profile.columns):
        entry: dict[str, Any] = {"name": column.name, "missing": column.missing}
        arrays[f"counts_{i}"] = column.counts
        if isinstance(column, NumericColumn):
            kind = "counted" if column.counted else "numeric"
            entry |= {"kind": kind, "sigma": column.sigma if np.isfinite(column.sigma) else None}
            arrays[f"edges_{i}"] = column.edges
            if isinstance(column.held, Sketch):
                arrays[f"values_{i}"], arrays[f"rows_{i}"] = column.held
            else:
                arrays[f"values_{i}"] = to_host(column.values)
        else:
            entry |= {"kind": "categorical", "categories": list(column.categories)}
        header.append(entry)
    text = json.dumps({"format": _FORMAT, "version": _VERSION, "columns": header})
    arrays["header"] = np.frombuffer(text.encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> Profile:
    """Read a profile; ProfileError in one line for whatever is wrong with the file."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(bytes(arrays["header"]))
        if header["format"] != _FORMAT or header["version"] != _VERSION:
            raise ProfileError(f"{path}:header: not a profile of version {_VERSION} - fit and save it again")
        columns = [_column(path, i, entry, arrays) for i, entry in enumerate(header["columns"])]
    except ProfileError:
        raise
    except FileNotFoundError as error:
        raise ProfileError(f"{path}: no such file - fit a profile and save it there") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError) as error:
        raise ProfileError(f"{path}: damaged or not a profile - fit and save it again") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ProfileError(f"{path}: damaged or not a profile - fit and save it again") from error
    return Profile(tuple(columns))


def _column(path: Path, i: int, entry: dict[str, Any], arrays: dict[str, Any]) -> Column:
    name, missing, counts = str(entry["name"]), int(entry["missing"]), arrays[f"counts_{i}"]
    _require(counts.dtype == np.int64 and counts.ndim == 1 and (counts >= 0).all(), path, f"{name}.counts")
    _require(missing >= 0, path, f"{name}.missing")
    if entry["kind"] == "categorical":
        categories = tuple(entry["categories"])
        _require(len(categories) == counts.size, path, f"{name}.categories")
        return CategoricalColumn(name, categories, counts, missing)
    values, edges = arrays[f"values_{i}"], arrays[f"edges_{i}"]
    working = values.ndim == 1 and str(values.dtype) in ("float32", "float64", "int64", "uint64")
    _require(working and bool((values[1:] >= values[:-1]).all()), path, f"{name}.values")
    _require(edges.dtype == values.dtype and bool((edges[1:] > edges[:-1]).all()), path, f"{name}.edges")
    sigma = float("nan") if entry["sigma"] is None else float(entry["sigma"])
    _require(counts.size == edges.size + 1, path, f"{name}.counts")
    if entry["kind"] == "counted":
        rows = arrays[f"rows_{i}"]
        _require(bool(np.isin(edges, values).all()), path, f"{name}.edges")
        sizes = rows.dtype == np.int64 and rows.shape == (values.size + 1,) and bool((rows >= 0).all())
        _require(sizes and rows.sum() == counts.sum(), path, f"{name}.rows")
        return NumericColumn(name, Sketch(values, rows), missing, edges, counts, sigma)
    _require(counts.sum() == values.size, path, f"{name}.counts")
    return NumericColumn(name, HeldRows(values, ascending=True), missing, edges, counts, sigma)


def _require(condition: bool, path: Path, field: str) -> None:
    if not condition:
        raise ProfileError(f"{path}:{field}: not what a profile holds - fit and save it again")
