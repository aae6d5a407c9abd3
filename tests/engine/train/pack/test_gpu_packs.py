"""The benchmark of packs on a GPU, tried on a CPU: it measures there, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.engine.train import gpu_packs
from benchmarks.engine.train.gpu_packs import Line, floor, main, measure, read, show, write

FEW = [
    "--trials",
    "3",
    "--rows",
    "120",
    "--batch",
    "40",
    "--width",
    "8",
    "--depth",
    "2",
    "--epochs",
    "1",
    "--alone",
    "0",
]


def test_without_a_gpu_it_measures_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_packs, "RESULTS", tmp_path / "results")
    with pytest.raises(SystemExit) as refused:
        main(FEW)
    assert str(refused.value) == "gpu_packs: no GPU was found, nothing is written - run it where there is one"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 trials of 2 x 8, batches of 40, on a CPU: no figures of a device"
    assert [line.split(" ms")[0].split("  ")[1] for line in said[1:5]] == [
        f"{kind}, {precision}" for precision in ("32", "bf16") for kind in ("launched", "graph")
    ]
    assert said[5].startswith("  trials a minute: packed ")
    assert not (tmp_path / "results").exists()


def test_the_floor_is_the_larger_of_products_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2 trials of 20 -> 8 -> 1 at 40 rows: 177 numbers."""
    monkeypatch.setattr(gpu_packs, "rates", lambda *rest: (1000.0, float("inf")))
    assert floor((20, 8, 1), 40, 2, "32") == pytest.approx(6 * 2 * 40 * 177 / 1000)
    monkeypatch.setattr(gpu_packs, "rates", lambda *rest: (float("inf"), 1000.0))
    assert floor((20, 8, 1), 40, 2, "32") == pytest.approx(2 * (3 * 2 * 4 * 40 * 9 + 11 * 4 * 177) / 1000)
    assert floor((20, 8, 1), 40, 2, "bf16") == pytest.approx(2 * (3 * 2 * 2 * 40 * 9 + 11 * 4 * 177) / 1000)


def test_a_result_says_what_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Made Up 1")
    path = write(read(FEW), [Line("graph, 32", 0.5, 0.1, "")], {"packed": 3.0}, tmp_path)
    assert path.name.startswith("packs_made-up-1_")
    found = json.loads(path.read_text())
    assert (found["gpu"], found["sizes"]["trials"], found["trials_a_minute"]) == ("Made Up 1", 3, {"packed": 3.0})
    assert found["steps"] == [{"name": "graph, 32", "seconds": 0.5, "floor": 0.1, "note": ""}]
    assert found["versions"]["torch"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_measures_all(tmp_path: Path) -> None:
    words = read([*FEW[:-1], "2", "--at-once", "2"])
    lines, trials = measure(words)
    show(words, lines, trials)
    assert all(line.seconds > 0 for line in lines)
    assert trials["ratio"] > 0
    assert write(words, lines, trials, tmp_path).exists()
