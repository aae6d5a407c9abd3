from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError

from engine.errors import ConfigError
from engine.records import Severity
from engine.validate.conf import Severities, ValidateConf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"missing_tolerance": 1.5}, "validate.missing_tolerance: is 1.5 - use a share from 0 to 1"),
        ({"rows_low": -1.0}, "validate.rows_low: is -1.0 - use a share from 0 to 1"),
        ({"rows_low": float("nan")}, "validate.rows_low: is nan - use a share from 0 to 1"),
        ({"rows_high": 0.5}, "validate.rows_high: is 0.5 - use 1 or more"),
        ({"min_rows": 1}, "validate.min_rows: is 1 - use 2 or more"),
        ({"leakage_rows": 5}, "validate.leakage_rows: is 5 - use 100 or more"),
        ({"max_gap": float("nan")}, "validate.max_gap: is nan - use 0 or more"),
        ({"leakage_auroc": 1.0}, "validate.leakage_auroc: is 1.0 - use 0.51 to 0.9999"),
        ({"confidence_level": 1.0}, "validate.confidence_level: is 1.0 - use 0.5 to 0.9999"),
    ],
)
def test_a_wrong_tolerance_is_refused_with_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ValidateConf(**change)
    assert str(caught.value) == message


def test_a_wrong_severity_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        Severities(missing="fatal")
    expected = "validate.severity.missing: 'fatal' is no severity - use one of block, warn, info, off"
    assert str(caught.value) == expected
    assert Severities(ids="off").of("ids") is None
    assert Severities().of("ids") is Severity.BLOCK


def test_it_serves_as_a_structured_config() -> None:
    changes = {"min_rows": 50, "severity": {"order": "off"}}
    merged = OmegaConf.merge(OmegaConf.structured(ValidateConf), changes)
    conf = OmegaConf.to_object(merged)
    assert conf == ValidateConf(min_rows=50, severity=Severities(order="off"))
    with pytest.raises(ConfigKeyError):
        OmegaConf.merge(OmegaConf.structured(ValidateConf), {"severity": {"orders": "off"}})
