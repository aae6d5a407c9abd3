"""ValidateConf: how bad each finding is, and from where on it counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from engine.errors import ConfigError
from engine.records import Severity

OFF = "off"
LEVELS = (*(severity.value for severity in Severity), OFF)


@dataclass(kw_only=True, slots=True)
class Severities:
    """What a check does when it is violated, or cannot be decided: block, warn, info, or off (not run)."""

    column: str = "block"
    """A declared column is missing."""
    undeclared: str = "info"
    """A column is there that the schema does not know."""
    type: str = "block"
    """A column holds another kind of values."""
    empty: str = "block"
    """A column that had values has none."""
    missing: str = "warn"
    """More values of a column are missing than in the reference."""
    infinite: str = "warn"
    """A column holds infinities and the reference had none."""
    range: str = "warn"
    """Numbers lie outside the range of the schema."""
    categories: str = "warn"
    """Categories that the schema does not know."""
    length: str = "info"
    """Strings are longer than any of the reference."""
    constant: str = "warn"
    """A column that varied has one value."""
    unique: str = "block"
    """A column that the schema declares unique has a value twice."""
    few_rows: str = "block"
    """There are fewer rows than `min_rows`."""
    rows: str = "warn"
    """The number of rows is out of its band around the reference."""
    ids: str = "block"
    """An id comes twice."""
    repeated: str = "block"
    """Rows of the window before come again."""
    copies: str = "warn"
    """More rows equal another one in every feature than in the reference."""
    order: str = "info"
    """Rows are not in order of time."""
    overlap: str = "block"
    """Rows lie before the end of the window before, or of the reference."""
    gap: str = "warn"
    """Time passed between the end of the window before and this one's begin, of which there are no rows."""
    fresh: str = "warn"
    """The newest row is older than the schema declares or the windows before teach, or of the future."""
    classes: str = "block"
    """Labels are of a class that the data config does not list and no founding window had: nothing is trained or judged
    on their window, whatever the severity; off: the loop stops there."""
    label: str = "warn"
    """All labels of a labelled window are the same."""
    leakage: str = "block"
    """A feature alone tells the label too well."""
    groups: str = "warn"
    """A group has another share of the rows than declared."""
    skew: str = "warn"
    """Serving saw another value of a feature than the window has for the same id, or `serving` holds no log of it."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value not in LEVELS:
                key = f"validate.severity.{each.name}"
                raise ConfigError(key, f"{value!r} is no severity", f"use one of {', '.join(LEVELS)}")

    def of(self, check: str) -> Severity | None:
        """The severity of a check, None if it is off."""
        value = getattr(self, check)
        return None if value == OFF else Severity(value)


@dataclass(kw_only=True, slots=True)
class ValidateConf:
    """Tolerances of the window checks. Shares are of rows; a share counts once its lower bound is beyond."""

    severity: Severities = field(default_factory=Severities)
    """What each check does."""
    schema: str | None = None
    """YAML file that windows are held against, made by `tidegate validate --infer` and edited by a person; null: what
    the founding windows look like."""
    history: int = 0
    """Usable windows before the one at hand that are good examples too: ranges, categories, lengths, missing rates and
    copies allow what they had, and three or more set the band of rows and the age of rows; 0: the schema alone."""
    serving: str | None = None
    """Folder, or URI, of what serving saw: <window>.parquet with data.id and the features; the loop compares each
    window with it, row by row. null: not compared."""
    confidence_level: float = 0.99
    """Of the bounds of shares: a small window must not be blocked by chance."""
    missing_tolerance: float = 0.05
    """Share of missing values beyond that of the reference."""
    range_tolerance: float = 0.01
    """Share of rows outside the range of a column."""
    category_tolerance: float = 0.01
    """Share of rows in categories that the schema does not know."""
    copies_tolerance: float = 0.05
    """Share of rows that equal another one, beyond that of the reference."""
    group_tolerance: float = 0.05
    """How far the share of a group may lie from the declared one."""
    skew_tolerance: float = 0.0
    """Share of rows of which serving may have seen another value."""
    min_rows: int = 100
    """Fewer rows than this are no window."""
    rows_low: float = 0.5
    """Rows of a window over those of the reference, at least."""
    rows_high: float = 2.0
    """Rows of a window over those of the reference, at most."""
    max_gap: float = 1.0
    """Longest time without rows before a window, in lengths of that window."""
    leakage_auroc: float = 0.99
    """A feature whose AUROC on the label is surely above this tells the label."""
    leakage_rows: int = 100_000
    """Look for leakage in this many rows, evenly spaced, at most."""

    def __post_init__(self) -> None:
        shares = ("missing", "range", "category", "copies", "group", "skew")
        for key in (*(f"{share}_tolerance" for share in shares), "rows_low"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"validate.{key}", f"is {getattr(self, key)}", "use a share from 0 to 1")
        if self.serving is not None and not self.serving:
            raise ConfigError("validate.serving", "is empty", "name the folder of the serving logs, or null")
        if not 0.5 <= self.confidence_level < 1:
            raise ConfigError("validate.confidence_level", f"is {self.confidence_level}", "use 0.5 to 0.9999")
        if not 0.5 < self.leakage_auroc < 1:
            raise ConfigError("validate.leakage_auroc", f"is {self.leakage_auroc}", "use 0.51 to 0.9999")
        for key, least in (("min_rows", 2), ("leakage_rows", 100), ("rows_high", 1), ("max_gap", 0), ("history", 0)):
            if not getattr(self, key) >= least:
                raise ConfigError(f"validate.{key}", f"is {getattr(self, key)}", f"use {least} or more")
