"""Weights as bytes, and back: safetensors only, so that reading a model never runs code."""

from __future__ import annotations

from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from engine.errors import ArtifactError


def dump(model: torch.nn.Module) -> bytes:
    """The state dict of `model` as safetensors bytes (CPU, contiguous); tied tensors are written once each.

    One that is cut over processes (sharded.py) is put together, which all of them must do at once.
    """
    return bytes(safetensors.torch.save({name: _whole(tensor) for name, tensor in model.state_dict().items()}))


def _whole(tensor: Any) -> torch.Tensor:
    together = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    copy: torch.Tensor = together.detach().cpu().clone(memory_format=torch.contiguous_format)
    return copy  # of its own: safetensors refuses tensors that share memory


def load(model: torch.nn.Module, data: bytes, where: str) -> None:
    """Put the weights into `model`; every tensor must be there with its shape, and no other.

    Raises:
        ArtifactError: the bytes are no safetensors file, or belong to another model. `where` names the file.
    """
    try:
        model.load_state_dict(safetensors.torch.load(data), strict=True)
    except SafetensorError as error:
        raise ArtifactError(where, f"not a whole safetensors file ({error})", "restore it from a copy") from error
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise ArtifactError(where, f"weights of another model ({detail})", "use the config it was made with") from error
