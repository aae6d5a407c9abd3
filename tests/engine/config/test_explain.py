"""Errors that are not ours as one line. What people type is in test_bad_input.py; here are the rest."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from engine.config.explain import one_line
from engine.config.schema import Composer
from engine.errors import ConfigError
from tests.engine.world import write


def raised(error: BaseException, cause: BaseException) -> BaseException:
    """`error`, raised from `cause`."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_what_only_we_can_mend_is_left_alone() -> None:
    for error in (ZeroDivisionError("x"), ValueError("x"), KeyError("x"), OSError("no file is named")):
        assert one_line(error) is None


def test_the_operating_system() -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/data/x")
    assert one_line(error) == "/data/x: Permission denied - check the path and its permissions"


def test_a_config_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra opens it, and the error comes from within; it is the file's all the same."""
    write(tmp_path / "train" / "mine.yaml", "lr: 0.5\n")
    real = open

    def closed(path: Any, *more: Any, **words: Any) -> Any:
        if str(path).endswith("mine.yaml"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *more, **words)

    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(PermissionError) as caught:
        Composer(["train=mine"], [f"file://{tmp_path}"])({})
    said = f"{tmp_path}/train/mine.yaml: Permission denied - check the path and its permissions"
    assert one_line(caught.value) == said


def test_our_own_line_behind_one_of_hydra() -> None:
    ours = ConfigError("train.lr", "0 is not positive", "choose one")
    assert one_line(raised(HydraException("Error instantiating"), ours)) == "train.lr: 0 is not positive - choose one"


def test_what_nobody_has_seen_before_is_still_one_line() -> None:
    error = ConfigCompositionException("something\n  new\nhappened")
    assert one_line(error) == "config:config: something new happened - see --cfg job for every key"


def test_a_cycle_of_causes_ends() -> None:
    first, second = HydraException("a"), HydraException("b")
    first.__cause__, second.__cause__ = second, first
    assert one_line(first) == "config:config: a - see --cfg job for every key"


def test_omegaconf() -> None:
    try:
        OmegaConf.create({"a": "${b}"}).a  # noqa: B018
    except OmegaConfBaseException as error:
        line = one_line(error)
    assert line == "config:a: it refers to 'b', which is not there - see --cfg job for every key"


@pytest.mark.parametrize(
    ("override", "cure"),
    [("+act.rules.mine={metric: data.rows}", "+act.rules={mine: {...}}"), ("in a file", "+gate.rules={mine: {...}}")],
)
def test_a_new_entry_is_to_be_written_into_its_own_mapping(override: str, cure: str) -> None:
    told = f"Error merging override {override}" if override.startswith("+") else override
    cause = OmegaConfBaseException("Invalid type assigned: dict is not a subclass of RuleConf. full_key: mine")
    line = one_line(raised(ConfigCompositionException(told), cause))
    assert line == f"config:mine: a new entry comes in its mapping - write it as {cure}"
