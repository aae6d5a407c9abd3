from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.data.features import Encoder
from engine.errors import ArtifactError, ConfigError
from engine.models import challenger, predictor
from engine.models.predictor import PROBE_ROWS, Predictor, cold_check, load, pack
from engine.promote.store import Store
from engine.records import Answer, Task
from engine.train import weights
from engine.train.inference import build
from tests.engine.tides import MODEL, TRAIN, make_conf, make_encoder, make_window


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make_files(encoder: Encoder | None = None, probe: pa.Table | None = None) -> dict[str, bytes]:
    """An untrained model, packed."""
    encoder = encoder or make_encoder()
    return pack(
        encoder=encoder,
        weights=weights.dump(build(MODEL, encoder.spec, TRAIN)),
        model=MODEL,
        train=TRAIN,
        probe=make_window(2, n=300).table if probe is None else probe,
        trusted=(),
    )


def put(store: Store, **changes: Any) -> str:
    """Store an artifact whose JSON files have other values: a whole one, by the store's own account."""
    files = make_files()
    for name, change in changes.items():
        key = f"{name}.json"
        files[key] = json.dumps(change(json.loads(files[key]))).encode()
    return store.put(files, {})


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_packed_model_predicts_what_it_did(task: str, store: Store) -> None:
    encoder = make_encoder(make_conf(task=task), task=task)
    network = build(MODEL, encoder.spec, TRAIN)
    before = Predictor(artifact="", encoder=encoder, model=network)
    files = pack(encoder=encoder, weights=weights.dump(network), model=MODEL, train=TRAIN,
                 probe=make_window(2).table, trusted=())  # fmt: skip
    assert sorted(files) == ["encoder.json", "model.json", "probe.json", "weights.safetensors"]
    artifact = store.put(files, {})
    loaded = load(store, artifact)
    assert loaded.artifact == artifact
    assert loaded.encoder == encoder
    assert loaded.task is Task(task)
    assert not loaded.model.training
    table = make_window(5, labelled=False).table  # rows without labels, with gaps
    found = loaded.predict(table)
    assert found.dtype == np.float64
    assert found.shape == ((200, 2) if task == "multiclass" else (200,))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, before.predict(table))
    checked = cold_check(store, artifact)
    assert {**checked, "seconds": 0.0} == {"rows": 200, "largest_difference": 0.0, "agrees": True, "seconds": 0.0}


def test_packing_is_deterministic() -> None:
    assert make_files() == make_files()


def test_the_probe_is_the_first_rows_with_their_gaps() -> None:
    table = make_window(2, n=300).table
    pull = table["pull"].to_numpy().copy()
    pull[:2] = np.inf, -np.inf
    probe = json.loads(make_files(probe=table.set_column(2, "pull", pa.array(pull)))["probe.json"])
    assert sorted(probe["columns"]) == ["age", "colour", "id", "pull"]  # neither label nor time
    assert len(probe["predictions"]) == PROBE_ROWS == len(probe["columns"]["id"])
    assert probe["columns"]["age"].count(None) == table["age"].slice(0, PROBE_ROWS).null_count > 0
    assert probe["columns"]["colour"].count(None) > 0
    assert probe["columns"]["pull"][:2] == [None, None]
    assert probe["columns"]["pull"][2:] == pull[2:PROBE_ROWS].tolist()


def test_the_probe_survives_a_column_of_gaps_alone(store: Store) -> None:
    table = make_window(2, n=20).table
    for at, name, kind in ((3, "age", pa.float64()), (4, "colour", pa.string())):
        table = table.set_column(at, name, pa.nulls(20, kind))
    assert cold_check(store, store.put(make_files(probe=table), {}))["agrees"] is True


def test_other_weights_do_not_agree(store: Store) -> None:
    encoder = make_encoder()
    files = make_files(encoder)
    other = build(MODEL, encoder.spec, TRAIN)
    for parameter in other.parameters():
        parameter.data += 0.1
    artifact = store.put({**files, "weights.safetensors": weights.dump(other)}, {})
    checked = cold_check(store, artifact)
    assert checked["agrees"] is False
    assert checked["largest_difference"] > 0.001


def test_predictions_of_another_shape_or_not_finite_do_not_agree(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fewer(probe: dict[str, Any]) -> dict[str, Any]:
        return {**probe, "predictions": probe["predictions"][1:]}

    checked = cold_check(store, put(store, probe=fewer))
    assert (checked["agrees"], checked["largest_difference"]) == (False, None)
    whole = store.put(make_files(), {})
    monkeypatch.setattr(Predictor, "predict", lambda self, table: np.full(table.num_rows, np.nan))
    checked = cold_check(store, whole)
    assert (checked["agrees"], checked["largest_difference"]) == (False, None)
    json.dumps(checked, allow_nan=False)


def test_a_fresh_process_says_the_same_and_answers_every_bad_request(store: Store) -> None:
    artifact = store.put(make_files(), {})
    found = challenger.cold_check(store, artifact, ())
    agrees = Answer(request="recorded predictions", fine=True, reason="256 recorded predictions, largest difference 0")
    assert found.agrees == agrees
    assert [answer for answer in found.answers if not answer.fine] == []
    assert len(found.answers) == 14
    memory, size = found.infra
    assert (memory.name, size.name) == ("peak_memory_mb", "artifact_mb")
    assert 50 < memory.value < 5000
    files = store.manifest(artifact)["files"].values()
    assert size.value == pytest.approx(sum(file["size"] for file in files) / 1e6)


def test_a_fresh_process_without_a_difference_to_show_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    half = '{"rows": 3, "largest_difference": null, "agrees": false, "answers": [], "infra": []}'
    answers = {
        half: "3 recorded predictions, not all of them finite",
        'hello\n{"rows": 0, "agrees": false, "error": "no such file"}': "no such file",
        "": "the fresh process gave no answer (IndexError)",
        "hello": "the fresh process gave no answer (JSONDecodeError)",
        '{"rows": 3, "largest_difference": 0, "agrees": true}': "the fresh process gave no answer (KeyError)",
        "[]": "the fresh process gave no answer (TypeError)",
    }
    for said, reason in answers.items():
        done = subprocess.CompletedProcess([], 0, stdout=said, stderr="")
        monkeypatch.setattr(subprocess, "run", lambda *args, done=done, **rest: done)
        agrees = challenger.cold_check(store, "0" * 64, ()).agrees
        assert (agrees.fine, agrees.reason) == (False, reason)

    def late(*args: Any, **rest: Any) -> None:
        raise subprocess.TimeoutExpired("python", 300)

    monkeypatch.setattr(subprocess, "run", late)
    assert challenger.cold_check(store, "0" * 64, ()).agrees.reason == (
        "the fresh process gave no answer (TimeoutExpired)"
    )


def refusal(store: Store, artifact: str) -> str:
    with pytest.raises(ArtifactError) as error:
        load(store, artifact)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["weights.safetensors", "encoder.json", "model.json", "probe.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_file_is_refused_in_one_line(name: str, damage: str, store: Store) -> None:
    artifact = store.put(make_files(), {})
    blob = store.root / "blobs" / store.manifest(artifact)["files"][name]["sha256"]
    data = bytearray(blob.read_bytes())
    if damage == "gone":
        blob.unlink()
    else:
        data[len(data) // 2] ^= 1
        blob.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    with pytest.raises(ArtifactError) as error:
        cold_check(store, artifact)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_an_artifact_of_another_kind_or_version_is_refused_in_one_line(store: Store) -> None:
    with pytest.raises(ArtifactError):
        load(store, "0" * 64)
    assert "the artifact has no such file" in refusal(store, store.put({"notes.txt": b"hello"}, {}))
    newer = put(store, model=lambda model: {**model, "format": 2})
    assert refusal(store, newer) == f"{newer[:12]}/model.json:format: format 2 is not 1 - upgrade tidegate"
    cure = "use the version of tidegate that wrote it"
    more = put(store, model=lambda model: {**model, "train": {**model["train"], "momentum": 1}})
    assert refusal(store, more).startswith(f"{more[:12]}/model.json: this version does not know its keys (")
    assert refusal(store, more).endswith(f"'momentum') - {cure}")
    less = put(store, model=lambda model: {"format": 1, "train": model["train"]})
    said = "this version does not know its keys (ValueError: they are ['format', 'train'])"
    assert refusal(store, less) == f"{less[:12]}/model.json: {said} - {cure}"
    listed = put(store, model=lambda model: [])
    assert refusal(store, listed) == (f"{listed[:12]}/model.json: not a JSON object - restore the artifact from a copy")
    files = make_files()
    torn = store.put({**files, "model.json": files["model.json"][:-9]}, {})
    assert refusal(store, torn) == f"{torn[:12]}/model.json: not JSON - restore the artifact from a copy"
    short = store.put({**files, "weights.safetensors": files["weights.safetensors"][:-9]}, {})
    assert refusal(store, short).startswith(f"{short[:12]}/weights.safetensors: not a whole safetensors file (")
    wider = put(store, model=lambda model: {**model, "model": {**model["model"], "width": 9}})
    assert refusal(store, wider).startswith(f"{wider[:12]}/weights.safetensors: weights of another model (")


def test_an_artifact_cannot_name_code_that_nobody_trusts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_TRUST", raising=False)
    artifact = put(store, model=lambda model: {**model, "model": {"_target_": "os.system"}})
    with pytest.raises(
        ConfigError, match=r"^model\._target_:os\.system: this class is not on the list of trusted ones"
    ):
        load(store, artifact)


def test_weights_that_predict_nothing_are_not_packed() -> None:
    encoder = make_encoder()
    broken = build(MODEL, encoder.spec, TRAIN)
    broken.body[0].weight.data.fill_(np.nan)
    with pytest.raises(ArtifactError, match=r"^probe\.json: the model predicts numbers that are not finite - "):
        pack(encoder=encoder, weights=weights.dump(broken), model=MODEL, train=TRAIN,
             probe=make_window(2).table, trusted=())  # fmt: skip


def test_the_program_answers_every_fault_with_one_object(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor.main([str(store.root), "0" * 64])
    answer = json.loads(capsys.readouterr().out)
    assert answer["agrees"] is False
    assert "the file is missing" in answer["error"]

    def explode(*args: Any, **rest: Any) -> None:
        raise RuntimeError("a layer\nof the user's")

    monkeypatch.setattr(predictor, "examine", explode)
    predictor.main([str(store.root), "0" * 64])
    assert json.loads(capsys.readouterr().out)["error"] == "RuntimeError: a layer of the user's"
    predictor.main([])
    assert json.loads(capsys.readouterr().out)["error"].startswith("IndexError: ")
