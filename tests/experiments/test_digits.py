"""The digits experiment: a partition of the images, with drift where it says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from engine.data.conf import DataConf
from engine.data.sources import ParquetSource

SCRIPT = Path(__file__).parents[2] / "experiments" / "digits" / "prepare.py"
PIXELS = [f"px_{i:02d}" for i in range(64)]


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("digits_prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source(prepare: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> ParquetSource:
    """The windows as the command writes them."""
    folder = tmp_path_factory.mktemp("digits")
    assert prepare.main(["--out", str(folder)]) == 0
    return ParquetSource(
        DataConf(
            path=str(folder / "windows"),
            labels=str(folder / "labels"),
            id="id",
            time="time",
            label="label",
            task="multiclass",
            classes=10,
            numeric=PIXELS,
        )
    )


def test_each_image_is_in_exactly_one_window(source: ParquetSource) -> None:
    windows = [source.read(name, labelled=True) for name in source.names()]
    assert len(windows) == 8
    ids = np.concatenate([w.table["id"].to_numpy() for w in windows])
    assert sorted(ids.tolist()) == list(range(1797))
    labels = np.concatenate([w.table["label"].to_numpy() for w in windows])
    np.testing.assert_array_equal(labels, load_digits().target[ids])


def test_images_are_untouched_until_the_drift_begins(source: ParquetSource, prepare: ModuleType) -> None:
    truth = load_digits().data
    for name in source.names():
        table = source.read(name, labelled=False).table
        pixels = np.stack([table[c].to_numpy() for c in PIXELS], axis=1)
        same = np.array_equal(pixels, truth[table["id"].to_numpy()].astype(np.float32))
        assert same == (int(name.removeprefix("week-")) < prepare.DRIFT_FROM)
        assert pixels.min() >= 0
        assert pixels.max() <= 16


def test_turning_is_what_scipy_calls_rotating(prepare: ModuleType) -> None:
    images = load_digits().images[:20]
    np.testing.assert_allclose(prepare.turn(images, 0.0), images)
    np.testing.assert_allclose(prepare.turn(images, 90.0), np.rot90(images, -1, axes=(1, 2)), atol=1e-12)
    expected = ndimage.rotate(images, -30.0, axes=(1, 2), reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(prepare.turn(images, 30.0), expected, atol=1e-9)


def test_the_same_seed_writes_the_same_bytes(prepare: ModuleType, tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        assert prepare.main(["--out", str(tmp_path)]) == 0
        runs.append({p.name: p.read_bytes() for p in tmp_path.glob("windows/*")})
    assert runs[0] == runs[1]
