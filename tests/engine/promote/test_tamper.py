"""An artifact of which one byte is another: `verify` and `read` name it, and nothing of it is used."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ArtifactError
from engine.promote.store import Store

FILES = {
    "weights.safetensors": random.Random(5).randbytes(9000),
    "encoder.json": b'{"numeric":["pull","push"]}' * 40,
    "model.json": b'{"format":1}',
}


@pytest.mark.parametrize("samples", [600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_flipped_byte_of_an_artifact_is_seen(
    tmp_path: Path, samples: int, record_property: Callable[[str, object], None]
) -> None:
    store = Store(tmp_path / "store")
    artifact = store.put(FILES, {"window": "2026-01"})
    paths = sorted(path for path in store.root.rglob("*") if path.is_file() and path.name != "lock")
    whole = {path: path.read_bytes() for path in paths}
    assert len(paths) == len(FILES) + 1
    chance = random.Random(13)
    where = [(path, i) for path in paths for i in range(len(whole[path]))]
    for path, i in chance.choices(where, k=samples):
        data = bytearray(whole[path])
        data[i] ^= 1 << chance.randrange(8)
        path.chmod(0o644)
        path.write_bytes(data)
        with pytest.raises(ArtifactError) as caught:
            store.verify(artifact)
        assert "altered" in str(caught.value)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole[path])
    store.verify(artifact)
    record_property("tamper: bytes of an artifact", f"{samples} of {samples} sampled flips seen")
