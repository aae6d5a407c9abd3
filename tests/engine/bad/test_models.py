"""Artifacts whose bytes are what their manifest says, and still no model: whoever made them knew how to hash."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from engine.errors import InputError
from engine.models.predictor import cold_check, load, pack
from engine.promote.store import Store
from engine.train import weights
from engine.train.inference import build
from tests.engine.bad.corpus import Case, fault_of, wrong
from tests.engine.tides import MODEL, TRAIN, make_encoder, make_window

Record = Callable[[str, object], None]
GARBAGE = {
    "empty": b"",
    "a brace": b"{",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a string": b'"x"',
    "an empty object": b"{}",
    "NUL": b"\0" * 64,
    "UTF-16": '{"format":1}'.encode("utf-16"),
    "not UTF-8": b'{"format":"\xff"}',
    "a pickle": pickle.dumps({"format": 1}),
    "nested deeply": b"[" * 200_000,
    "YAML": b"format: 1\nmodel: !!python/object/apply:os.system [id]\n",
    "a huge number": b'{"format":1' + b"0" * 5000 + b"}",
    "another format": b'{"format":99}',
}
NOT = (None, "x", -1, [], {}, [[]], 1e999, True, 10**30, "9" * 5000, [None], ["x", 1])  # what no field may be ...


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """An untrained model, packed."""
    encoder = make_encoder()
    dumped = weights.dump(build(MODEL, encoder.spec, TRAIN))
    probe = make_window(2, n=60).table
    return pack(encoder=encoder, weights=dumped, model=MODEL, train=TRAIN, probe=probe, trusted=())


def tensors(header: dict[str, Any] | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file made by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def weight_files(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Weights of nothing."""
    state = safetensors.torch.load(good)
    name = next(iter(state))
    for k in (0, 1, 7, 8, 9, 100, len(good) // 2, len(good) - 1):
        yield f"cut at {k}", good[:k]
    yield "a byte more", good + b"\0"
    yield "a pickle", pickle.dumps(state)
    yield "huge header", tensors(b"{}", length=2**62)
    yield "header of a terabyte", tensors(b"{}", length=2**40)
    yield "header is a list", tensors(b"[]")
    yield "header is no JSON", tensors(b"{{{{")
    yield "header nested deeply", tensors(b"[" * 100_000)
    yield "no tensors", tensors({})
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    yield "another tensor", tensors({"x": one}, bytes(8))
    yield "offsets outside", tensors({"x": {**one, "data_offsets": [0, 2**40]}}, bytes(8))
    yield "offsets backwards", tensors({"x": {**one, "data_offsets": [8, 0]}}, bytes(8))
    yield "shape too large", tensors({"x": {**one, "shape": [2**40, 2**40]}}, bytes(8))
    yield "shape negative", tensors({"x": {**one, "shape": [-1]}}, bytes(8))
    yield "unknown dtype", tensors({"x": {**one, "dtype": "F7"}}, bytes(8))
    yield "overlapping", tensors({"x": one, "y": one}, bytes(8))
    yield "one shape wrong", safetensors.torch.save({**state, name: torch.zeros(3, 5, 7)})
    yield "one missing", safetensors.torch.save({k: v for k, v in state.items() if k != name})
    yield "one too many", safetensors.torch.save({**state, "extra": torch.zeros(1)})


def json_files(name: str, good: bytes) -> Iterator[tuple[str, bytes]]:
    """A JSON file with each of its keys missing, or of another kind."""
    for said, data in GARBAGE.items():
        yield f"{name} {said}", data
    value = json.loads(good)
    for key in value:
        yield f"{name} without {key}", json.dumps({k: v for k, v in value.items() if k != key}).encode()
        for other in NOT:
            numbers = isinstance(value[key], int | float) and isinstance(other, int | float) and other != 1e999
            if type(other) is not type(value[key]) and not numbers:
                yield f"{name} {key}={str(other)[:20]}", json.dumps({**value, key: other}).encode()
    yield f"{name} with one more key", json.dumps({**value, "instantiate_me": "os.system"}).encode()


MODELS: dict[str, Any] = {
    "width": ("x", -1, 0, 2**40, 1.5, None, [8]),
    "depth": ("x", -1, 10**12, 2.5, None),
    "dropout": ("x", -1, 1, 2, [0.1]),
    "embedding": ("x", -1, 2**40, None),
    "_target_": ("", None, 7, "os.system", "engine.train.model.Model", ["engine.train.model.TabularModel"], "a\nb", {}),
    "extra": (1,),
    "_instantiator": ("subprocess.Popen",),
}


def test_models(tmp_path: Path, files: dict[str, bytes], record_property: Record) -> None:
    store = Store(tmp_path / "store")
    changes: list[tuple[str, str, bytes]] = [
        ("weights.safetensors", *b) for b in weight_files(files["weights.safetensors"])
    ]
    for name in ("encoder.json", "model.json"):
        changes += [(name, *bad) for bad in json_files(name, files[name])]
    described = json.loads(files["model.json"])
    for group, table in (("model", MODELS), ("train", {"lr": ("x", 1e999, -1), "seed": (-1,), "unknown": (1,)})):
        for key, values in table.items():
            for value in values:
                bad = {**described, group: {**described[group], key: value}}
                changes.append(("model.json", f"{group}.{key}={value!r:.30}", json.dumps(bad).encode()))
    cases = []
    for name, said, data in changes:
        artifact = store.put({**files, name: data}, {})
        cases.append(Case(said, lambda artifact=artifact: load(store, artifact)))
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: models", f"{count} of {count} one line")


def test_probes(tmp_path: Path, files: dict[str, bytes], record_property: Record) -> None:
    """What the cold check reads beside the model."""
    store = Store(tmp_path / "store")
    cases = []
    for said, data in json_files("probe.json", files["probe.json"]):
        artifact = store.put({**files, "probe.json": data}, {})
        cases.append(Case(said, lambda artifact=artifact: agreed(store, artifact)))
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: probes", f"{count} of {count} refused")


def agreed(store: Store, artifact: str) -> None:
    """A check that does not agree is a refusal, too."""
    if not cold_check(store, artifact)["agrees"]:
        raise InputError("probe.json", "does not agree", "train again")


def test_manifests(tmp_path: Path, record_property: Record) -> None:
    """A manifest has the hash of its name, and says nothing of use."""
    store = Store(tmp_path / "store")
    good = store.put({"a": b"x"}, {})
    entry = store.manifest(good)["files"]["a"]
    bad: dict[str, bytes] = {f"garbage {name}": data for name, data in GARBAGE.items()}
    for name, value in {
        "no files": {"format": 1},
        "files is a list": {"format": 1, "files": []},
        "entry is text": {"format": 1, "files": {"a": "x"}},
        "no sha": {"format": 1, "files": {"a": {"size": 1}}},
        "sha is a path": {"format": 1, "files": {"a": {"sha256": "../../etc/passwd", "size": 1}}},
        "no size": {"format": 1, "files": {"a": {"sha256": entry["sha256"]}}},
        "size is text": {"format": 1, "files": {"a": {**entry, "size": "1"}}},
        "name is a path": {"format": 1, "files": {"../a": entry}},
    }.items():
        bad[name] = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    cases = []
    for name, data in bad.items():
        artifact = hashlib.sha256(data).hexdigest()
        (store.root / "manifests" / f"{artifact}.json").write_bytes(data)
        cases.append(
            Case(name, lambda artifact=artifact: (store.verify(artifact), store.export(artifact, tmp_path / "x")))
        )
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: manifests", f"{count} of {count} one line")


def test_the_corpus_knows_a_fault() -> None:
    """What the promise forbids is seen."""
    assert fault_of("config:a: it is wrong - mend it") == ""
    for said in (
        "!accepted",
        "it is wrong",
        "Traceback (most recent call last):\n x: y - z",
        "a: b\n",
        "a: b - c\x1b[0m",
    ):
        assert fault_of(said)
