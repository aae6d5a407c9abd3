"""One trial on several processes: the same as on one, on the same batches; and what happens when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from engine.errors import ConfigError
from engine.records import Task, TrialState
from engine.train import distributed
from engine.train.conf import TrainConf
from engine.train.fit import fit
from engine.train.inference import build
from engine.train.loader import TensorLoader
from engine.train.members import Spawned
from engine.train.model import TabularModel
from engine.train.scorer import Fitted
from engine.train.sweep import run_trial
from tests.engine.train.made import MODEL, make_job, make_plan, make_rows, make_spec, make_train
from tests.patience import until

HERE = "tests.engine.train.test_distributed"
ROOT = Path(__file__).parents[3]


class Partial(TabularModel):
    """Has a parameter that no loss depends on, and a buffer that a step changes."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.idle = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("steps", torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.steps += 1
        return super().training_step(batch, batch_idx)


class Refusing(TabularModel):
    """Fails in its second step, in helpers alone."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if batch_idx == 1 and torch.multiprocessing.parent_process():
            raise ValueError("no such\nlayer")
        return super().training_step(batch, batch_idx)


class Dying(TabularModel):
    """The process that leads dies in the second epoch, and leaves the ids of its helpers."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            children = [str(process.pid) for process in torch.multiprocessing.active_children()]
            Path(os.environ["HELPERS"]).write_text(" ".join(children))
            os.kill(os.getpid(), signal.SIGKILL)


class Manual(TabularModel):
    automatic_optimization = False


def fitted(conf: TrainConf, target: str = "Partial") -> Fitted:
    """250 rows: the last batch of 32 has 26, which three processes share unevenly."""
    model = build({**MODEL, "_target_": f"{HERE}.{target}"}, make_spec(), conf, ("tests",))
    rows = make_rows(n=250)
    return fit(model, rows, make_rows(seed=2), conf, task=Task.BINARY, metric="roc_auc_score", mode="max")


def test_three_processes_take_the_steps_of_one() -> None:
    alone, together = (fitted(make_train(workers=workers)) for workers in (1, 3))
    assert [e.train_loss for e in together.curve] == pytest.approx([e.train_loss for e in alone.curve], rel=1e-5)
    assert [e.value for e in together.curve] == pytest.approx([e.value for e in alone.curve], abs=1e-4)
    one, three = (safetensors.numpy.load(each.weights) for each in (alone, together))
    assert one.keys() == three.keys()
    for name in one:
        np.testing.assert_allclose(three[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert (one["idle"] == 1).all()  # no gradient is not a gradient of zero, which would decay it
    assert torch.multiprocessing.active_children() == []


def test_a_helper_that_fails_ends_the_trial_with_its_reason(tmp_path: Path) -> None:
    plan = make_plan(0, {**MODEL, "_target_": f"{HERE}.Refusing"}, workers=2)
    trial = run_trial(make_job(tmp_path, plan, trusted=("tests",)), plan, lambda epoch: True)
    assert trial.state is TrialState.FAILED
    assert trial.reason == "RuntimeError: a helper process failed: ValueError: no such layer"
    assert torch.multiprocessing.active_children() == []


def test_helpers_end_with_their_leader(tmp_path: Path) -> None:
    program = f"""if __name__ == "__main__":
    from {HERE} import fitted
    from tests.engine.train.made import make_train
    fitted(make_train(workers=2), "Dying")"""
    (tmp_path / "program.py").write_text(program)
    environment = os.environ | {"HELPERS": str(tmp_path / "helpers"), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, str(tmp_path / "program.py")], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    (helper,) = (tmp_path / "helpers").read_text().split()
    until(lambda: not lives(helper))


def lives(pid: str) -> bool:
    """Is this process there, and no zombie that nobody reaps."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("n", [1, 2, 5, 64, 65, 67])
def test_parts_of_a_batch_are_the_batch(n: int) -> None:
    rows = torch.arange(n)
    whole = list(TensorLoader((rows,), 64, seed=3))
    parts = [list(TensorLoader((rows,), 64, seed=3, part=part, parts=3)) for part in range(3)]
    for index, (batch,) in enumerate(whole):
        assert torch.equal(torch.cat([part[index][0] for part in parts]), batch)
        assert len(parts[0][index][0]) >= len(parts[1][index][0]) >= len(parts[2][index][0])
        assert len(parts[0][index][0]) > 0


def test_what_cannot_be_shared_is_refused() -> None:
    shared = make_train(workers=2)
    manual = build({**MODEL, "_target_": f"{HERE}.Manual"}, make_spec(), shared, ("tests",))
    with pytest.raises(ConfigError, match=r"train.workers: Manual steps its optimizers itself - set train.workers=1"):
        distributed.check(manual, shared, "cpu", Spawned())
    distributed.check(manual, make_train(), "gpu", Spawned())
    with pytest.raises(ConfigError, match=r"train.workers: 64 is above train.batch_size 32"):
        make_train(workers=64)


def test_each_process_wants_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(MODEL, make_spec(), make_train())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    distributed.check(model, make_train(workers=2), "gpu", Spawned())
    with pytest.raises(ConfigError) as error:
        distributed.check(model, make_train(workers=3), "gpu", Spawned())
    assert str(error.value) == (
        "train.workers: 3 processes want a GPU each, and this trial sees 2 - choose fewer, search.backend=ray, or "
        "train.accelerator=cpu"
    )
    with pytest.raises(ConfigError, match=r"train.gpus: 0.5 of a GPU is no device of its own for each of 2 workers"):
        make_train(workers=2, gpus=0.5)
