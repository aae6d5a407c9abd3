"""Composing a config again, and its way to dataclasses."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.errors import HydraException

from engine.config.schema import Composer, compose_config
from engine.errors import ConfigError
from tests.engine.world import World, write

FLIGHTS = ["experiment=flights"]


def test_a_point_may_choose_a_group_and_a_number() -> None:
    composer = Composer(["experiment=digits"])
    assert composer({})[1] == {"_target_": "experiments.digits.model.DigitsNet", "channels": 16}
    train, model = composer({"model": "tabular", "train.lr": 0.125})
    assert (train.lr, model["_target_"], model["width"]) == (0.125, "engine.train.model.TabularModel", 128)


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        (["evaluate=regression", "gate=regression", "data.task=regression"], "mean_absolute_error"),
        (["evaluate=multiclass", "gate=multiclass", "data.task=multiclass"], "accuracy_score"),
        (["search.metric=log_loss"], "log_loss"),
        (["search=pareto"], "roc_auc_score"),
        ([], "roc_auc_score"),
    ],
)
def test_a_search_looks_for_what_models_are_judged_by(words: list[str], metric: str) -> None:
    assert compose_config([*FLIGHTS, *words]).search.metric == metric


def test_a_model_of_a_users_own_brings_no_keys_of_ours() -> None:
    own = ["model=custom", "model._target_=shop.net.Net", "+model.hidden=64", "search=none"]
    config = compose_config([*FLIGHTS, *own])
    assert config.model == {"_target_": "shop.net.Net", "hidden": 64}
    assert config.search.space == {}
    with pytest.raises(ConfigError, match=r"^model\._target_: has no value - set it: model\._target_=\.\.\.$"):
        compose_config([*FLIGHTS, "model=custom", "search=none"])


def test_a_point_that_names_nothing_is_refused() -> None:
    with pytest.raises(HydraException):
        Composer(FLIGHTS)({"model.wdth": 3})


@pytest.mark.parametrize("folder", ["plain", "with space", "with,comma", "with'quote", "with(bracket"])
def test_a_users_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder / "train" / "slow.yaml", "lr: 0.0625\n")
    composer = Composer([*FLIGHTS, "train=slow"], [f"file://{tmp_path / folder}"])
    assert composer({})[0].lr == 0.0625


def test_a_reference_on_the_command_line_stays_one(fresh: World) -> None:
    """`out='runs/${loop.name}-b'` is resolved by the config, and composes again for every point."""
    assert fresh.run("loop", "out='" + str(fresh.out) + "-${loop.name}'", "loop.until=2026-02") == 0
    assert Path(f"{fresh.out}-world", "ledger.db").exists()


def test_what_was_set_by_hand() -> None:
    composer = Composer(["train.lr=0.1", "+gate.rules={}", "model=tabular"])
    assert [key for key in ("train.lr", "gate.rules", "model", "train", "lr") if composer.sets(key)] == [
        "train.lr",
        "gate.rules",
        "model",
    ]


def test_where_things_lie() -> None:
    config = compose_config([*FLIGHTS, "out=/a"])
    assert (config.ledger_url, config.open_store().url) == ("sqlite:////a/ledger.db", "/a/store")
    config = compose_config([*FLIGHTS, "promote.ledger='postgresql+psycopg://h/d'", "promote.store=/b"])
    assert (config.ledger_url, config.open_store().url) == ("postgresql+psycopg://h/d", "/b")
    assert compose_config([*FLIGHTS, "promote.store='s3://bucket/p/'"]).open_store().url == "s3://bucket/p"


def test_secrets_do_not_travel() -> None:
    config = compose_config([*FLIGHTS, "promote.ledger='postgresql+psycopg://ada:hunter2@h/d'"])
    assert "hunter2" not in str(config.plain())
    assert config.plain()["promote"]["ledger"] == "postgresql+psycopg://***@h/d"


def test_a_model_needs_a_class(tmp_path: Path) -> None:
    write(tmp_path / "model" / "none.yaml", "channels: 3\n")
    with pytest.raises(ConfigError, match=r"model\._target_: the model has no class - choose model=tabular"):
        compose_config([*FLIGHTS, "model=none"], [f"file://{tmp_path}"])


def test_the_windows_of_a_config_know_which_of_them_found_the_loop(tmp_path: Path) -> None:
    """A class that only the last founding window has is one of its classes; a later one is not."""
    for name, words in (("w1", ["a", "b"]), ("w2", ["b", "a"]), ("w3", ["c", "a"]), ("w4", ["d", "a"])):
        at = pa.array([0, 1], pa.timestamp("us"))
        pq.write_table(pa.table({"id": [1, 2], "at": at, "x": [0.5, 1.5], "y": words}), tmp_path / f"{name}.parquet")
    keys = ["id=id", "time=at", "label=y", "task=multiclass", "numeric=[x]", f"path={tmp_path}"]
    config = compose_config(["data=parquet", *(f"data.{key}" for key in keys), "loop.founding_windows=3"])
    assert config.open_source().classes.words == ("a", "b", "c")
