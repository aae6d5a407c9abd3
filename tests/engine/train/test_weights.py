from __future__ import annotations

import pytest
import torch

from engine.errors import ArtifactError
from engine.train import weights
from engine.train.inference import build
from tests.engine.train.made import MODEL, make_spec, make_train


def make_model(seed: int = 0, width: int = 16) -> torch.nn.Module:
    model: torch.nn.Module = build({**MODEL, "width": width}, make_spec(), make_train(seed=seed))
    return model


def test_weights_come_back_bit_for_bit() -> None:
    first, second = make_model(seed=1), make_model(seed=2)
    data = weights.dump(first)
    weights.load(second, data, "w")
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert weights.dump(second) == data


@pytest.mark.parametrize("cut", [0, 1, 8, 100, 0.5, -1])
def test_a_cut_file_is_refused_in_one_line(cut: float) -> None:
    model = make_model()
    before = weights.dump(model)
    at = int(len(before) * cut) if isinstance(cut, float) else cut
    with pytest.raises(ArtifactError) as error:
        weights.load(model, before[:at], "folder/weights.safetensors")
    assert str(error.value).startswith("folder/weights.safetensors: not a whole safetensors file (")
    assert str(error.value).endswith(") - restore it from a copy")
    assert "\n" not in str(error.value)
    assert weights.dump(model) == before  # nothing half-loaded


def test_weights_of_other_shapes_or_names_are_refused_in_one_line() -> None:
    for other in (make_model(width=8), torch.nn.Linear(3, 1)):
        with pytest.raises(ArtifactError) as error:
            weights.load(make_model(), weights.dump(other), "w")
        assert str(error.value).startswith("w: weights of another model (")
        assert str(error.value).endswith(") - use the config it was made with")
        assert "\n" not in str(error.value)


def test_tied_and_strided_tensors_are_written_too() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].bias.data = torch.arange(6.0)[::2]
    again = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    weights.load(again, weights.dump(model), "w")
    x = torch.ones(2, 3)
    assert torch.equal(model(x), again(x))
