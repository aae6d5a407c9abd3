"""Networks of ours are built, asked and packed without Lightning; a trial that trains alone makes LightningModules."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

import engine.train.model
from engine.records import Task
from engine.train.fit import fit
from engine.train.inference import build
from engine.train.model import Model, Network, TabularModel
from engine.train.module import in_lightning
from tests.engine.train.made import MODEL, RESIDUAL, make_rows, make_spec, make_train

ROOT = Path(__file__).parents[3]
SLOW = ("lightning", "torchmetrics", "torch._dynamo", "sympy")


class Hooked(TabularModel):
    """A subclass of a network of ours that knows Lightning."""

    trainer: Any  # Lightning's, once it has it
    begun = 0

    def on_train_epoch_start(self) -> None:
        self.begun = self.trainer.current_epoch + 1


def test_it_becomes_a_lightning_module_in_place() -> None:
    model = build(MODEL, make_spec(), make_train())
    assert type(model) is TabularModel
    assert not isinstance(model, lightning.LightningModule)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    same = in_lightning(model)
    assert same is model
    assert isinstance(model, lightning.LightningModule)
    assert isinstance(model, TabularModel)
    assert type(model).__name__ == "TabularModel"
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    kind = type(model)
    assert type(in_lightning(model)) is kind  # nothing is done twice
    assert type(in_lightning(build(MODEL, make_spec(), make_train()))) is kind


@pytest.mark.parametrize("conf", [MODEL, RESIDUAL])
def test_it_holds_what_a_lightning_module_is_made_with(conf: dict[str, Any]) -> None:
    """Whatever Lightning's own __init__ sets, in this release of it or another."""
    model = in_lightning(build(conf, make_spec(), make_train()))
    assert set(vars(lightning.LightningModule())) <= set(vars(model))
    other = copy.deepcopy(model)
    assert type(other) is type(model)
    assert other.automatic_optimization


def test_a_subclass_keeps_its_hooks() -> None:
    model = Hooked(spec=make_spec(), train=make_train(max_epochs=2))
    rows = make_rows(n=40)
    fitted = fit(model, rows, rows, model.conf, task=Task.BINARY, metric="log_loss", mode="min")
    assert model.begun == len(fitted.curve) == 2


def test_what_is_a_lightning_module_stays_as_it_is() -> None:
    class Mine(Model):
        """Of a user."""

    made = Mine(spec=make_spec(), train=make_train())
    assert isinstance(made, Network)
    assert isinstance(made, lightning.LightningModule)
    assert type(in_lightning(made)) is Mine


def test_the_file_of_networks_has_no_other_names_to_give() -> None:
    assert engine.train.model.Model is Model
    with pytest.raises(AttributeError, match="has no attribute 'Modell'"):
        engine.train.model.Modell  # noqa: B018


def loaded_after(program: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return set(ran.stdout.splitlines()[-1].split())


def test_networks_of_ours_are_asked_and_packed_without_lightning(tmp_path: Path) -> None:
    """And without torch.compile, which the first optimizer of torch's imports. Checkpoints are written as well."""
    loaded = loaded_after(
        "from pathlib import Path\n"
        "import engine.models.predictor\n"
        "from engine.records import Task\n"
        "from engine.train.conf import SearchConf\n"
        "from engine.train.inference import build, predict\n"
        "from engine.train.pack.search import PackSearch\n"
        "from tests.engine.train.made import MODEL, make_job, make_plan, make_rows, make_spec, make_train\n"
        "assert len(predict(build(MODEL, make_spec(), make_train()), make_rows(n=5), Task.BINARY)) == 5\n"
        "plans = [make_plan(i, checkpoint_seconds=0.0, max_epochs=2) for i in range(2)]\n"
        f"job = make_job(Path({str(tmp_path)!r}), *plans)\n"
        "search = PackSearch(SearchConf(backend='local', pack='1'))\n"
        "trials = search.run(job, on_epoch=lambda *_: None, on_trial=lambda trial: None)\n"
        "assert [(trial.state.value, trial.notes) for trial in trials] == [('finished', ())] * 2, trials"
    )
    assert "torch" in loaded
    assert not loaded & set(SLOW)
