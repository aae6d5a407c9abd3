from __future__ import annotations

import pytest

from engine.system.redact import HIDDEN, is_secret, redact, redact_text


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "dbPassword", "PASSWD", "api_key", "apiKey", "api-key", "wandb.api_key",
     "token", "auth-token", "client_secret", "credentials", "Authorization",
     "aws_secret_access_key", "private_key", "PGPASSWORD", "WANDB_API_KEY", "HF_TOKEN", "account_key"],
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
        ("postgresql://me:hun/ter@2@db/x", "postgresql://***@db/x"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("https://account.blob/x?sv=1&sig=hunter2", "https://account.blob/x?sv=1&sig=***"),
        ("https://discord.com/api/webhooks/1/hunter2", "https://discord.com/api/webhooks/***"),
        ("key AKIAABCDEFGHIJKLMNOP and ghp_abcdefghijklmnop1234", "key *** and ***"),
        ("sk-learn is no key, nor is hf_x", "sk-learn is no key, nor is hf_x"),
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


def test_what_the_environment_keeps_secret_is_hidden_wherever_it_turns_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "hunter2-hunter2")
    monkeypatch.setenv("SHORT_TOKEN", "a")
    monkeypatch.setenv("LANGUAGE_OF_MINE", "english-language")
    assert redact_text("a hunter2-hunter2 in english-language") == f"a {HIDDEN} in english-language"
    assert redact({"owner": "hunter2-hunter2"}) == {"owner": HIDDEN}
