"""Weights as bytes, and back: safetensors only, so that reading a model never runs code."""

from __future__ import annotations

import safetensors.torch
import torch
from safetensors import SafetensorError

from engine.errors import ArtifactError


def dump(model: torch.nn.Module) -> bytes:
    """The state dict of `model` as safetensors bytes (CPU, contiguous); tied tensors are written once each."""
    whole = torch.contiguous_format  # a copy of its own: safetensors refuses tensors that share memory
    state = {name: tensor.detach().cpu().clone(memory_format=whole) for name, tensor in model.state_dict().items()}
    return bytes(safetensors.torch.save(state))


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
