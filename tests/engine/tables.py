"""Tables that differ in ways a test is about, and what `tidegate drift` says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine import cli
from engine.data.tables import write_parquet

ROWS = 600


def outcomes(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str]]:
    code = cli.run(["drift", "--json", *words])
    columns = json.loads(capsys.readouterr().out)["columns"]
    return code, {c["column"]: c["outcome"] for c in columns if c["kind"] != "missing"}


def made(seed: int, rows: int = ROWS, **columns: Any) -> pa.Table:
    """A number that does not move, and what a test is about."""
    rng = np.random.default_rng(seed)
    return pa.table({"still": rng.normal(0, 1, rows), **columns})


def told(capsys: pytest.CaptureFixture[str], old: pa.Table, new: pa.Table, folder: Path, *words: str) -> Any:
    """What --json says of two tables, its exit code and what people read among it."""
    write_parquet(old, folder / "old.parquet")
    write_parquet(new, folder / "new.parquet")
    words = (f"reference={folder / 'old.parquet'}", f"live={folder / 'new.parquet'}", *words)
    code = cli.run(["drift", "--json", *words])
    out, err = capsys.readouterr()
    return {**json.loads(out), "code": code, "said": err}


def kinds(answer: Any) -> dict[str, str]:
    return {c["column"]: c["kind"] for c in answer["columns"]}


def left(answer: Any) -> dict[str, str]:
    return {c["column"]: c["reason"] for c in answer["left_out"]}


def odd(seed: int) -> pa.Table:
    """Columns whose type alone does not say what they are."""
    rng = np.random.default_rng(seed)
    return made(
        seed,
        price=[f" {value:.2f} " for value in rng.normal(5, 1, ROWS)],
        zip=[f"{value:05d}" for value in rng.integers(1000, 1200, ROWS)],
        weekday=rng.integers(0, 7, ROWS),
        age=rng.integers(0, 90, ROWS),
        customer_id=np.arange(ROWS) + seed * ROWS,
        account=rng.permutation(10**9 + np.arange(ROWS)),
        comment=[f"text {seed} {k}" for k in range(ROWS)],
        version=[7] * ROWS,
        when=pa.array(np.arange(ROWS), pa.timestamp("us")),
        raw=pa.array([b"x"] * ROWS),
        nothing=pa.nulls(ROWS),
    )


def moved_pair() -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(3)
    old = made(
        1,
        delay=rng.normal(100, 10, ROWS),
        country=rng.choice(["DE", "AT", "FI"], ROWS, p=[0.6, 0.3, 0.1]),
        weight=pa.array(rng.normal(0, 1, ROWS), mask=rng.random(ROWS) < 0.01),
    )
    new = made(
        2,
        delay=rng.normal(110, 10, ROWS),
        country=rng.choice(["DE", "AT", "<GE>"], ROWS, p=[0.3, 0.3, 0.4]),
        weight=pa.array(rng.normal(0, 1, ROWS), mask=rng.random(ROWS) < 0.2),
    )
    return old, new


def scored(seed: int, flip: float) -> pa.Table:
    """Probabilities and their labels; a part of the labels is turned round."""
    rng = np.random.default_rng(seed)
    score = rng.random(ROWS)
    label = (rng.random(ROWS) < score) ^ (rng.random(ROWS) < flip)
    return made(seed, score=score, y=np.where(label, "yes", "no"))
