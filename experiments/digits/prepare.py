"""Make eight windows of handwritten digits, the later ones seen by a tilted and noisy scanner.

    python experiments/digits/prepare.py [--out data/digits]

Source: the 1797 images of 8 x 8 pixels that scikit-learn carries (UCI, optical recognition of handwritten
digits). Each image is in exactly one window; none is used twice. The order, the times and the drift are ours:
from window `DRIFT_FROM` on every image is turned by 20 degrees and gets some noise, which no model of the
earlier windows has seen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.data.tables import write_parquet
from engine.errors import DataError, InputError

WINDOWS = 8
DRIFT_FROM = 5  # counted from 1
DEGREES = 20.0
NOISE = 0.5  # standard deviation; a pixel runs from 0 to 16
SEED = 0
START = np.datetime64("2024-01-01T08:00:00", "ms")
BETWEEN = np.timedelta64(44, "m")  # images of a week, one after the other
SIDE = 8


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 8, 8) float64, 0..16, and digits (N,) int64."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("scikit-learn", "is not installed", "pip install scikit-learn") from None
    digits = load_digits()
    return digits.images, digits.target


def build(images: np.ndarray, digits: np.ndarray) -> Iterator[tuple[str, pa.Table, pa.Table]]:
    """Yield (name, window, labels) of each window, in order."""
    rng = np.random.default_rng(SEED)
    for number, rows in enumerate(np.array_split(rng.permutation(len(images)), WINDOWS), 1):
        seen = images[rows]
        if number >= DRIFT_FROM:
            turned = turn(seen, DEGREES)
            seen = np.clip(turned + rng.normal(0.0, NOISE, turned.shape), 0.0, 16.0)
        times = START + np.timedelta64(7 * (number - 1), "D") + np.arange(len(rows)) * BETWEEN
        pixels = seen.reshape(len(rows), -1).astype(np.float32)
        columns = {"id": pa.array(rows.astype(np.int64)), "time": pa.array(times, pa.timestamp("ms", "UTC"))}
        columns |= {f"px_{pixel:02d}": pa.array(pixels[:, pixel]) for pixel in range(SIDE * SIDE)}
        labels = pa.table({"id": columns["id"], "label": pa.array(digits[rows].astype(np.int64))})
        yield f"week-{number}", pa.table(columns), labels


def turn(images: np.ndarray, degrees: float) -> np.ndarray:
    """Images (N, S, S) turned clockwise about their centre, bilinear, 0 outside."""
    side = images.shape[-1]
    centre, angle = (side - 1) / 2, np.deg2rad(degrees)
    y, x = np.mgrid[:side, :side] - centre
    sources = (np.cos(angle) * y - np.sin(angle) * x + centre, np.sin(angle) * y + np.cos(angle) * x + centre)
    top, left = (np.floor(s).astype(int) for s in sources)
    padded = np.pad(images, ((0, 0), (side, side), (side, side)))
    out = np.zeros_like(images)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - np.abs(sources[0] - top - dy)) * (1 - np.abs(sources[1] - left - dx))
            out += weight * padded[:, top + dy + side, left + dx + side]
    return out


def main(arguments: list[str] | None = None) -> int:
    """Write all windows and labels below `--out`; 0, or 2 with one line that says what is wrong."""
    parser = argparse.ArgumentParser(description="Make the windows of the digits experiment.")
    parser.add_argument("--out", type=Path, default=Path("data/digits"), help="folder to write (data/digits)")
    out = parser.parse_args(arguments).out
    began, rows = time.perf_counter(), 0
    try:
        for name, window, labels in build(*load()):
            write_parquet(labels, out / "labels" / f"{name}.parquet")
            write_parquet(window, out / "windows" / f"{name}.parquet")
            rows += window.num_rows
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"digits: {rows} rows in {WINDOWS} windows in {out}, {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
