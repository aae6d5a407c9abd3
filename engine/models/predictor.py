"""A model as production sees it: an artifact in, raw rows to predictions out.

`pack` says what an artifact holds; `load` brings one back; run as a module it is the cold check of preproduction:

    python -m engine.models.predictor [--verify-key=PEM] [--measure] STORE ARTIFACT [TRUSTED ...]

loads the artifact in a fresh process without any state of the training code, predicts the recorded probe rows, sends it
bad requests (infra.py) and prints one JSON object: the largest difference to the recorded predictions, how long
it took, the answers, and what the process needed; with --measure also latencies.

Torch (two seconds) is imported where a model is first made, not with this file: Ray and its workers start meanwhile.
Lightning, which takes as long again, is not needed for a network of ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.features import Encoder
from engine.errors import ArtifactError, InputError, one_line
from engine.models import infra
from engine.promote.signing import Signing
from engine.promote.store import Store
from engine.records import Task, from_plain, to_plain
from engine.train.conf import BUILT_IN, ModelConf, TrainConf
from engine.train.scaling import Scaling

FORMAT = 1
KEY = "--verify-key="  # on the command line of the cold check
MEASURE = "--measure"
SCALING = "scaling.json"  # the file of the map, where one was put behind the network
PROBE_ROWS = 256
TOLERANCE = 1e-6  # absolute, on a probability; relative to the largest prediction in regression


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """An encoder and a model that belong together."""

    artifact: str
    encoder: Encoder
    model: Any

    @property
    def task(self) -> Task:
        """What the label is."""
        return self.encoder.spec.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a label of words in the order of their codes, of two the positive one last; else empty."""
        return self.encoder.words

    def predict(self, table: pa.Table) -> np.ndarray:
        """Float64 predictions of raw rows: (N,) probability of the positive class or value, (N, C) probabilities of
        the classes in their order. Ids are whole numbers or texts.
        """
        from engine.train.inference import predict

        return predict(self.model, self.encoder.transform(table, labelled=False), self.task)

    def raw(self, table: pa.Table) -> np.ndarray:
        """Float64 outputs of the network alone, (N,) or (N, C): no map behind it, and no link."""
        from engine.train.inference import predict
        from engine.train.scaled import unscaled

        rows = self.encoder.transform(table, labelled=False)
        return predict(unscaled(self.model), rows, None)

    def scaled(self, scaling: Scaling) -> Predictor:
        """The same network with this map behind it, in place of the one that was there."""
        from engine.train.scaled import Scaled, unscaled

        return replace(self, model=Scaled(unscaled(self.model), scaling))


def pack(
    *,
    encoder: Encoder,
    weights: bytes,
    model: ModelConf,
    train: TrainConf,
    probe: pa.Table,
    trusted: tuple[str, ...],
) -> dict[str, bytes]:
    """The files of an artifact: weights, encoder, model config, and probe rows with their predictions.

    ArtifactError where the weights do not belong to the model, or where it predicts no finite number for a probe row.
    """
    from engine.train import weights as weights_file
    from engine.train.inference import build

    network = build(model, encoder.spec, train, trusted)
    weights_file.load(network, weights, "weights.safetensors")
    probe = _probe(probe, encoder)
    predictions = Predictor(artifact="", encoder=encoder, model=network).predict(probe)
    if not np.isfinite(predictions).all():
        raise ArtifactError("probe.json", "the model predicts numbers that are not finite", "train it with a lower lr")
    recorded = {
        "columns": {name: probe.column(name).to_pylist() for name in probe.column_names},
        "predictions": predictions.tolist(),
    }
    return {
        "weights.safetensors": weights,
        "encoder.json": _json(encoder.to_dict()),
        "model.json": _json({"format": FORMAT, "model": model, "train": asdict(train)}),
        "probe.json": _json(recorded),
    }


def load(store: Store, artifact: str, trusted: tuple[str, ...] = ()) -> Predictor:
    """The predictor of a stored artifact.

    Raises:
        ArtifactError: a file is missing, cut short, altered or of another kind.
        ConfigError: its model class is not trusted here, or cannot be imported.
    """
    from engine.train import weights as weights_file
    from engine.train.inference import build

    with _understood(f"{artifact[:12]}/encoder.json"):
        encoder = Encoder.from_dict(_parsed(store, artifact, "encoder.json"))
    described = _parsed(store, artifact, "model.json")
    if described.get("format") != FORMAT:
        raise ArtifactError(
            f"{artifact[:12]}/model.json:format",
            f"format {described.get('format')!r} is not {FORMAT}",
            "upgrade tidegate",
        )
    model, train = _described(artifact, described)
    with _understood(f"{artifact[:12]}/model.json"):
        network = build(model, encoder.spec, train, trusted)
    with _understood(f"{artifact[:12]}/weights.safetensors"):
        weights_file.load(network, store.read(artifact, "weights.safetensors"), f"{artifact[:12]}/weights.safetensors")
    network.eval()
    predictor = Predictor(artifact=artifact, encoder=encoder, model=network)
    return predictor.scaled(_scaling(store, artifact, encoder)) if SCALING in _files(store, artifact) else predictor


def repack(store: Store, artifact: str, scaling: Scaling, trusted: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The files of an artifact with this map behind its network: their very bytes, but for the recorded predictions.

    ArtifactError where it cannot be read, or predicts no finite number for a probe row then.
    """
    predictor = load(store, artifact, trusted).scaled(scaling)
    probe = _parsed(store, artifact, "probe.json")
    with _understood(f"{artifact[:12]}/probe.json"):
        predictions = predictor.predict(_probed(predictor, **probe)[0])
    if not np.isfinite(predictions).all():
        raise ArtifactError("probe.json", "the map gives numbers that are not finite", "retrain the model")
    made = {"probe.json": _json({**probe, "predictions": predictions.tolist()}), SCALING: _json(to_plain(scaling))}
    return {name: store.read(artifact, name) for name in _files(store, artifact) if name not in made} | made


def _files(store: Store, artifact: str) -> list[str]:
    return sorted(store.manifest(artifact)["files"])


def _scaling(store: Store, artifact: str, encoder: Encoder) -> Scaling:
    """The map of scaling.json; ArtifactError where it is none, or one of another task."""
    with _understood(f"{artifact[:12]}/{SCALING}", "holds no map of scores"):
        scaling = from_plain(Scaling, _parsed(store, artifact, SCALING))
        if scaling.task is not encoder.spec.task:
            raise ValueError(f"it is one of a {scaling.task.value} model")
    return scaling


def _described(artifact: str, described: dict[str, Any]) -> tuple[ModelConf, TrainConf]:
    """Model and train config of model.json; ArtifactError where they are not of this version's keys."""
    with _understood(f"{artifact[:12]}/model.json", "this version does not know its keys"):
        if set(described) != {"format", "model", "train"}:
            raise ValueError(f"they are {sorted(described)}")
        model, train = dict(described["model"]), TrainConf(**described["train"])
        if model["_target_"] in BUILT_IN:
            BUILT_IN[model["_target_"]](
                **model
            )  # its values come from outside: their limits hold here as they do for a config
        return {**model, "_target_": str(model["_target_"])}, train


@contextmanager
def _understood(where: str, cannot: str = "holds values that make no model") -> Iterator[None]:
    """What values of an artifact make our code raise is a fault of the artifact: ArtifactError at `where`."""
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        what = f"{cannot} ({type(error).__name__}: {one_line(error, 120)})"
        raise ArtifactError(where, what, "use the version of tidegate that wrote it") from error


def cold_check(store: Store, artifact: str, trusted: tuple[str, ...] = ()) -> dict[str, Any]:
    """Predict the recorded probe rows: {"rows", "largest_difference", "agrees", "seconds"}.

    `largest_difference` is absolute, None where a prediction is not finite or their shapes differ; raises as `load`.
    """
    return _checked(store, artifact, trusted)[2]


def examine(store: Store, artifact: str, trusted: tuple[str, ...] = (), *, measure: bool = False) -> dict[str, Any]:
    """`cold_check`, then {"answers", "infra"}: what it did with other requests, and what this process needed.

    Only the numbers of a process that does nothing else mean something.
    """
    predictor, rows, checked = _checked(store, artifact, trusted)
    told = infra.answers(predictor.predict, rows, predictor.encoder) if rows.num_rows else []
    files = store.manifest(artifact)["files"].values()
    times = infra.latencies(predictor.predict, rows) if measure and rows.num_rows else []
    needed = [
        *times,
        infra.whole("peak_memory_mb", infra.peak_memory(), "high-water mark of the fresh process"),
        infra.whole("artifact_mb", sum(file["size"] for file in files) / infra.MB, f"{len(files)} files"),
    ]
    return {**checked, "answers": to_plain(told), "infra": to_plain(needed)}


def _checked(store: Store, artifact: str, trusted: tuple[str, ...]) -> tuple[Predictor, pa.Table, dict[str, Any]]:
    """The predictor, its probe rows, and whether it predicts for them what was recorded."""
    began = time.perf_counter()
    predictor = load(store, artifact, trusted)
    probe = _parsed(store, artifact, "probe.json")
    with _understood(f"{artifact[:12]}/probe.json"):
        rows, recorded = _probed(predictor, **probe)
        predicted = predictor.predict(rows)
    same_shape = predicted.shape == recorded.shape
    difference = float(np.max(np.abs(predicted - recorded))) if same_shape and recorded.size else float("inf")
    scale = max(1.0, float(np.max(np.abs(recorded)))) if recorded.size else 1.0
    return predictor, rows, {
        "rows": len(recorded),
        "largest_difference": difference if np.isfinite(difference) else None,
        "agrees": bool(np.isfinite(difference) and difference <= TOLERANCE * scale),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def _probed(predictor: Predictor, columns: dict[str, Any], predictions: list[Any]) -> tuple[pa.Table, np.ndarray]:
    """The probe rows, and the recorded predictions of them."""
    encoder = predictor.encoder
    kinds = {encoder.conf_id: pa.int64(), **dict.fromkeys(encoder.numeric, pa.float64())}
    rows = {name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()}
    return pa.table(rows), np.array(predictions, dtype=np.float64, ndmin=1)


def _probe(table: pa.Table, encoder: Encoder) -> pa.Table:
    """The first rows in the types that JSON keeps exactly; a number that is not finite is left out of the probe."""
    table = table.slice(0, PROBE_ROWS)
    columns = {encoder.conf_id: table.column(encoder.conf_id).cast(pa.int64())}
    for name in encoder.numeric:
        values = table.column(name).cast(pa.float64(), safe=False)
        columns[name] = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    for name in encoder.categorical:
        columns[name] = table.column(name).cast(pa.string())
    return pa.table(columns)


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, sort_keys=True).encode()


def _parsed(store: Store, artifact: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(store.read(artifact, name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise ArtifactError(f"{artifact[:12]}/{name}", "not JSON", "restore the artifact from a copy") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{artifact[:12]}/{name}", "not a JSON object", "restore the artifact from a copy")
    return value


def main(words: list[str]) -> None:
    """The cold check as a program: one JSON object on stdout, with `error` in one line where it came to nothing."""
    key = next((word.removeprefix(KEY) for word in words[:2] if word.startswith(KEY)), "")
    measure = MEASURE in words[:2]
    words = [word for place, word in enumerate(words) if place > 1 or not word.startswith((KEY, MEASURE))]
    try:
        store = Store(words[0], Signing(verify_key=key))
        result = examine(store, words[1], tuple(words[2:]), measure=measure)
    except Exception as error:  # whatever the model's own code raises is an answer, too
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        line = " ".join(said.split())[:300]
        result = {"rows": 0, "largest_difference": None, "agrees": False, "seconds": 0.0, "error": line}
    print(json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    main(sys.argv[1:])
