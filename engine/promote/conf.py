"""What a person sets about stages, ledger and store."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class PromoteConf:
    """Where decisions and models are kept, and what a challenger goes through before production."""

    ledger: str | None = None
    """SQLAlchemy URL, such as postgresql+psycopg://host/db; null: SQLite in <out>/ledger.db."""
    store: str | None = None
    """Folder or URL (s3://bucket/prefix) of the model artifacts; null: <out>/store."""
    sign_key: str | None = None
    """Private key (PEM) that new models are signed with, passphrase in TIDEGATE_SIGN_PASSPHRASE; null: unsigned."""
    verify_key: str | None = None
    """Public key (PEM): models that its private key did not sign are neither promoted nor loaded; null: all are."""
    owner: str = ""
    """Who answers for the models of this loop: on their cards."""
    cold_check: bool = True
    """Load the artifact in a fresh process and compare its predictions before preproduction."""
    shadow_windows: int = 1
    """Labelled windows on which a challenger is held beside the champion before production, at most: it passes or
    fails as soon as the windows so far decide (gate.spending); 0: none."""

    def __post_init__(self) -> None:
        if self.shadow_windows < 0:
            raise ConfigError("promote.shadow_windows", f"{self.shadow_windows} is negative", "choose 0 or more")
