from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.errors import ConfigError
from engine.records import Dataset, FeatureSpec, Task
from engine.train.conf import ModelConf
from engine.train.inference import build, predict
from engine.train.model import FINAL_LR, Dropout, TabularModel, link
from tests.engine.train.made import MODEL, RESIDUAL, make_rows, make_spec, make_train

TASKS = list(Task)


def outputs(model: Any, rows: Dataset) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor(rows.numeric), torch.tensor(rows.categorical))  # type: ignore[no-any-return]


@pytest.mark.parametrize("conf", [MODEL, RESIDUAL])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n", [1, 7])
def test_raw_outputs_have_the_shape_of_the_contract(conf: ModelConf, task: Task, n: int) -> None:
    model = build(conf, make_spec(task), make_train())
    raw = outputs(model, make_rows(task, n=n))
    assert raw.shape == ((n, 3) if task is Task.MULTICLASS else (n,))
    assert raw.dtype == torch.float32


@pytest.mark.parametrize("conf", [MODEL, RESIDUAL])
@pytest.mark.parametrize("task", TASKS)
def test_the_loss_falls_under_its_own_optimizer(conf: ModelConf, task: Task) -> None:
    model = build(conf, make_spec(task), make_train(schedule="constant"))
    rows = make_rows(task)
    batch = tuple(torch.tensor(part) for part in (rows.numeric, rows.categorical, rows.target))
    optimizer = model.configure_optimizers()
    losses = []
    for step in range(30):
        loss = model.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(("numeric", "categorical"), [(("a",), ()), ((), ("d",))])
def test_one_kind_of_feature_is_enough(numeric: tuple[str, ...], categorical: tuple[str, ...]) -> None:
    spec = replace(make_spec(), numeric=numeric, categorical=categorical, cardinalities=(4,) * len(categorical))
    rows = make_rows(n=5)
    rows = replace(rows, numeric=rows.numeric[:, : len(numeric)], categorical=rows.categorical[:, : len(categorical)])
    assert outputs(build(MODEL, spec, make_train()), rows).shape == (5,)
    assert outputs(build(RESIDUAL, spec, make_train()), rows).shape == (5,)


def test_each_feature_has_its_own_rows_of_the_shared_embedding() -> None:
    model = TabularModel(spec=make_spec(), train=make_train(), width=4, depth=1, embedding=2)
    assert model.offsets.tolist() == [0, 4]
    assert model.embedding.num_embeddings == 7
    last = Dataset(numeric=np.zeros((1, 3), np.float32), categorical=np.array([[3, 2]]), target=None, rows=np.arange(1))
    outputs(model, last)  # the highest code of each feature exists
    with pytest.raises(IndexError):
        outputs(model, replace(last, categorical=np.array([[3, 3]])))


def test_regression_starts_at_the_mean_and_in_the_unit_of_the_target() -> None:
    spec = make_spec(Task.REGRESSION)
    rows = make_rows(Task.REGRESSION)
    raw = outputs(build(MODEL, spec, make_train()), rows)
    assert abs(float(raw.mean()) - spec.target_mean) < spec.target_scale
    unscaled = build(MODEL, replace(spec, target_mean=0.0, target_scale=1.0), make_train())
    torch.testing.assert_close(raw, outputs(unscaled, rows) * 20.0 + 50.0)


def test_regression_keeps_float32_under_bf16() -> None:
    rows = make_rows(Task.REGRESSION, n=64)
    model = build(MODEL, make_spec(Task.REGRESSION), make_train())
    exact = outputs(model, rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = outputs(model, rows)
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().max()) < 0.02 * 20.0  # bf16 of the network's own output, not of 50


def test_losses_are_those_of_the_field() -> None:
    raw, target = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 0.0])
    binary = build(MODEL, make_spec(), make_train())
    assert binary.loss(raw, target) == F.binary_cross_entropy_with_logits(raw, target)
    many = build(MODEL, make_spec(Task.MULTICLASS), make_train())
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    assert many.loss(logits, torch.tensor([1])) == F.cross_entropy(logits, torch.tensor([1]))
    value = build(MODEL, make_spec(Task.REGRESSION), make_train())
    # Huber in units of the standard deviation, 20: half of 0.5 squared; 3 deviations count 3 - 0.5.
    assert float(value.loss(torch.tensor([60.0, 110.0]), torch.tensor([50.0, 50.0]))) == pytest.approx(
        (0.125 + 2.5) / 2
    )


def test_the_cosine_ends_at_a_twentieth_in_the_last_epoch() -> None:
    model = build(MODEL, make_spec(), make_train(max_epochs=5, lr=0.1))
    made = model.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.1 * FINAL_LR)
    one = build(MODEL, make_spec(), make_train(max_epochs=1, lr=0.1)).configure_optimizers()
    assert one["optimizer"].param_groups[0]["lr"] == 0.1


def test_links_give_predictions_in_float64() -> None:
    raw = torch.tensor([0.0, 40.0, -40.0])
    probability = link(Task.BINARY, raw)
    assert probability.dtype == torch.float64
    assert probability[0] == 0.5
    assert 0 < float(probability[2]) < float(probability[1]) <= 1
    rows = link(Task.MULTICLASS, torch.tensor([[1.0, 2.0, 3.0]]))
    assert float(rows.sum()) == pytest.approx(1.0, abs=1e-15)
    assert link(Task.REGRESSION, raw).tolist() == [0.0, 40.0, -40.0]


@pytest.mark.parametrize(
    ("task", "shape", "line"),
    [
        (
            Task.BINARY,
            (5, 1),
            "gives (5, 1) for N = 5 rows - a binary model gives (N,), one raw output a row: squeeze(1)",
        ),
        (Task.REGRESSION, (5, 1), "gives (5, 1) for N = 5 rows - a regression model gives (N,), one raw output a row"),
        (Task.MULTICLASS, (5,), "gives (5,) for N = 5 rows - a multiclass model gives (N, C), a raw output a class"),
        (Task.BINARY, (), "gives () for N = 0 rows - a binary model gives (N,)"),
    ],
)
def test_outputs_of_another_shape_are_refused(task: Task, shape: tuple[int, ...], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"model.forward: {line}")):
        link(task, torch.zeros(shape))


@pytest.mark.parametrize("task", TASKS)
def test_predictions_of_many_chunks_are_those_of_one(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(MODEL, make_spec(task), make_train())
    rows = make_rows(task, n=100)
    whole = predict(model, rows, task)
    assert whole.dtype == np.float64
    assert whole.shape == ((100, 3) if task is Task.MULTICLASS else (100,))
    monkeypatch.setattr("engine.train.inference.CACHED_ROWS", 33)
    np.testing.assert_allclose(predict(model, rows, task), whole, rtol=1e-6)
    assert len(predict(model, make_rows(task, n=0), task)) == 0


def test_predicting_leaves_every_module_in_its_own_mode() -> None:
    model = build({**MODEL, "dropout": 0.5}, make_spec(), make_train())
    model.train()
    model.embedding.eval()  # frozen
    modes = [module.training for module in model.modules()]
    rows = make_rows(n=64)
    first, second = predict(model, rows, Task.BINARY), predict(model, rows, Task.BINARY)
    assert (first == second).all()  # no dropout
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(RuntimeError):
        predict(model, replace(rows, numeric=rows.numeric[:, :1]), Task.BINARY)
    assert [module.training for module in model.modules()] == modes


def test_the_seed_alone_draws_the_weights() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build(MODEL, make_spec(), make_train(seed=1)).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    again = build(MODEL, make_spec(), make_train(seed=1)).state_dict()
    other = build(MODEL, make_spec(), make_train(seed=2)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_a_key_the_model_does_not_know_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as error:
        build({**MODEL, "widht": 3}, make_spec(), make_train())
    assert str(error.value).startswith(
        "model: TabularModel refuses ['depth', 'dropout', 'embedding', 'widht', 'width']"
    )
    assert str(error.value).endswith("unexpected keyword argument 'widht') - check the keys")


def test_a_spec_without_features_of_either_kind_still_builds() -> None:
    spec = FeatureSpec(numeric=("a",), categorical=(), cardinalities=(), task=Task.BINARY, n_outputs=1)
    assert TabularModel(spec=spec, train=make_train(), depth=0).embedding.num_embeddings == 1


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.999])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    n = 400_003  # no multiple of the neurons that one draw decides on
    found = Dropout(p)(torch.ones(n))
    kept = int((found > 0).sum())
    assert abs(kept - n * (1 - p)) < 5 * (n * p * (1 - p)) ** 0.5 + n / 65_536
    assert found.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-2)
    assert abs(float(found.mean()) - 1.0) < 5 * (p / (1 - p) / n) ** 0.5
    for lag in (1, 2, 3, 4):  # neurons that share a draw are dropped independently
        both = float(((found[lag:] > 0) & (found[:-lag] > 0)).double().mean())
        assert abs(both - (kept / n) ** 2) < 5 * (p * (1 - p) / n) ** 0.5


def test_dropout_passes_the_gradient_of_what_it_kept_and_rests_in_eval_mode() -> None:
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.manual_seed(1)
    found = Dropout(0.3)(x)
    torch.manual_seed(1)
    assert torch.equal(Dropout(0.3)(x), found)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, found)
    assert Dropout(0.3).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert Dropout(0.3)(torch.empty(0, 5)).shape == (0, 5)
    for share in (-0.1, 1.0, 1.5):
        with pytest.raises(ValueError, match=r"^dropout is a share from 0 up to 0\.999, not "):
            Dropout(share)


def test_a_residual_network_is_its_equation() -> None:
    """Against the same weights in NumPy and float64."""
    rows = make_rows(n=9)
    model = build({**RESIDUAL, "dropout": 0.3}, make_spec(), make_train())
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return np.asarray(x * w[f"{name}.weight"] + w[f"{name}.bias"])

    def silu(x: np.ndarray) -> np.ndarray:
        return np.asarray(x / (1 + np.exp(-x)))

    embedded = w["embedding.weight"][rows.categorical + model.offsets.numpy()].reshape(9, -1)
    x = linear("body.0", np.hstack((rows.numeric, embedded)))
    for block in ("body.1.inner", "body.2.inner"):
        x = x + linear(f"{block}.4", silu(linear(f"{block}.1", norm(f"{block}.0", x))))
    expected = linear("body.5", silu(norm("body.3", x)))[:, 0]
    np.testing.assert_allclose(outputs(model, rows).numpy(), expected, atol=1e-5)
    assert w["body.1.inner.1.weight"].shape == (24, 16)  # expansion times width, by width


def test_a_residual_network_trains_on_a_batch_of_one_row() -> None:
    model = build(RESIDUAL, make_spec(), make_train())
    rows = make_rows(n=1)
    loss = model.training_step(tuple(torch.tensor(p) for p in (rows.numeric, rows.categorical, rows.target)), 0)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
