from __future__ import annotations

import pytest

from engine.redact import HIDDEN, is_secret, redact, redact_text


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "dbPassword", "PASSWD", "api_key", "apiKey", "api-key", "wandb.api_key",
     "token", "auth-token", "client_secret", "credentials", "Authorization",
     "aws_secret_access_key", "private_key"],
)  # fmt: skip
def test_keys_of_secrets_are_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["max_tokens", "monkey", "key", "primary_key_column", "seed", "tokenizer", "id"])
def test_other_keys_stay_visible(key: str) -> None:
    assert not is_secret(key)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql+psycopg://me:hunter2@db:5432/gate", "postgresql+psycopg://***@db:5432/gate"),
        ("https://host/x?token=hunter2&y=1", "https://host/x?token=***&y=1"),
        ("https://host/x?y=1&api_key=hunter2", "https://host/x?y=1&api_key=***"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/***"),
        ("sqlite:///runs/flights/ledger.db", "sqlite:///runs/flights/ledger.db"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_text_loses_only_its_secret(text: str, clean: str) -> None:
    assert redact_text(text) == clean


def test_nested_values_are_redacted_and_the_argument_is_untouched() -> None:
    config = {
        "ledger": {"url": "postgresql://u:hunter2@h/d"},
        "act": [{"token": "hunter2", "host": "h"}, {"password": ""}, {"secret": {"deep": "hunter2"}}],
        3: 1.5,
    }
    assert redact(config) == {
        "ledger": {"url": f"postgresql://{HIDDEN}@h/d"},
        "act": [{"token": HIDDEN, "host": "h"}, {"password": ""}, {"secret": HIDDEN}],
        "3": 1.5,
    }
    assert config["ledger"] == {"url": "postgresql://u:hunter2@h/d"}
