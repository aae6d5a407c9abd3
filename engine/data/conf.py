"""DataConf: which files, which columns, what the label is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.errors import ConfigError
from engine.records import Task

MAX_CLASSES = 1_000_000  # more is a slip: one row of predictions would take 8 MB
PERIODS = ("hour", "day", "week")  # what `cluster` may cut time into


@dataclass(kw_only=True, slots=True)
class DataConf:
    """Where the windows are and what their columns mean. A wrong value raises ConfigError naming its key."""

    path: str
    """Folder of the window files, `<name>.parquet` each: one file a window, order of names = order of time.
    A local folder, or a URI that Arrow can open (`s3://bucket/prefix`)."""
    labels: str | None = None
    """Folder of the label files, one per window under the window's name, with the columns `id` and `label`;
    null: the label is a column of the window file."""
    id: str
    """Column with a unique id per row, whole numbers or text (a UUID, "C-10293"); pairs a row with its label and
    the predictions of two models."""
    time: str
    """Column with the time of the row (timestamp or date; without a time zone it is read as UTC)."""
    label: str
    """Column with the label: two or more classes as words, booleans, or codes from 0 (binary, multiclass); any
    number (regression). Null: not known."""
    task: str
    """binary, multiclass or regression."""
    numeric: list[str] = field(default_factory=list)
    """Numeric features: integers, floats, booleans or decimals."""
    categorical: list[str] = field(default_factory=list)
    """Categorical features: strings, whole numbers or booleans."""
    slices: list[str] = field(default_factory=list)
    """Categorical columns by which evaluation is sliced; a protected attribute may stand here and not be a
    feature."""
    cluster: str = ""
    """What rows that share their luck have in common: a column read as a category, or `hour`, `day` or `week`
    of `time` (UTC). Intervals must resample whole clusters, or they come out too narrow. Empty: every row is
    independent of the others."""
    label_lag: int = 1
    """The labels of a window arrive this many windows later; 0: together with it."""
    classes: Any = 2
    """The classes in the order of their codes, such as [stayed, churned], of a binary label the positive one last; or,
    of a multiclass label that is codes 0..C-1, their number C. Words that are not listed are learnt from the founding
    windows, in order of the alphabet. Whole numbers that are not 0..C-1 are listed, too."""
    positive: Any = None
    """Binary: the label that is the positive class, whose probability is predicted, such as churned; null: the last of
    `classes`, or what the labels say themselves (true, yes, 1)."""
    min_category_rows: int = 1
    """A category on fewer training rows than this shares code 0 with unknown ones, and so trains that
    code."""
    prepare: str = ""
    """The command that makes the data: named in the error when nothing is there, never executed."""

    def __post_init__(self) -> None:
        for key in ("path", "id", "time", "label"):
            if not getattr(self, key):
                raise ConfigError(f"data.{key}", "is empty", "name it")
        tasks = [task.value for task in Task]
        if self.task not in tasks:
            raise ConfigError("data.task", f"{self.task!r} is not a task", f"use one of {', '.join(tasks)}")
        if not self.numeric and not self.categorical:
            raise ConfigError("data.numeric", "there is no feature", "name columns here or in data.categorical")
        if self.label_lag < 0:
            raise ConfigError("data.label_lag", f"is {self.label_lag}", "use 0 or more windows")
        self._check_classes()
        if self.min_category_rows < 1:
            raise ConfigError("data.min_category_rows", f"is {self.min_category_rows}", "use 1 or more rows")
        self._check_columns()

    def _check_classes(self) -> None:
        listed = isinstance(self.classes, list | tuple)
        if not listed and (isinstance(self.classes, bool) or not isinstance(self.classes, int)):
            what = f"is {self.classes!r}, neither a number nor a list"
            raise ConfigError("data.classes", what, "list the classes: data.classes=[stayed,churned]")
        if self.n_classes < 2:
            raise ConfigError("data.classes", f"is {self.classes}", "use 2 or more classes")
        if self.n_classes > MAX_CLASSES:
            raise ConfigError("data.classes", f"is {self.n_classes}", f"use {MAX_CLASSES} or fewer classes")
        of_list = [("data.classes", word) for word in self.classes] if listed else []
        of_one = [] if self.positive is None else [("data.positive", self.positive)]
        for where, value in of_list + of_one:
            if not isinstance(value, str | int) or value == "":
                raise ConfigError(where, f"{value!r} is no label", "name words, whole numbers or booleans")
        if (listed or self.positive is not None) and self.kind is Task.REGRESSION:
            where = "data.classes" if listed else "data.positive"
            raise ConfigError(where, "regression has no classes", "leave it out, or choose another data.task")
        if self.positive is not None and self.kind is not Task.BINARY:
            raise ConfigError("data.positive", f"is for binary labels, and the task is {self.task}", "leave it out")
        if len(set(self.words)) < len(self.words):
            raise ConfigError("data.classes", "names a class twice", "name it once")
        if self.words and self.kind is Task.BINARY and len(self.words) != 2:
            raise ConfigError("data.classes", f"has {len(self.words)} classes, and the task is binary", "list two")
        if self.words and self.positive is not None and self.positive_word not in self.words:
            raise ConfigError("data.positive", f"{self.positive_word!r} is not in data.classes", "name one of them")

    def _check_columns(self) -> None:
        roles = {self.id: "data.id"}
        for column, key in ((self.time, "data.time"), (self.label, "data.label")):
            if column in roles:
                raise ConfigError(key, f"{column!r} is {roles[column]} too", "name two different columns")
            roles[column] = key
        for key, columns in (("data.numeric", self.numeric), ("data.categorical", self.categorical)):
            for column in columns:
                if column in roles:
                    raise ConfigError(key, f"{column!r} is in {roles[column]} too", "name it once")
                roles[column] = key
        for column in self.slices:
            if roles.get(column, "data.categorical") != "data.categorical":
                raise ConfigError("data.slices", f"{column!r} is in {roles[column]}", "slice by a categorical column")
        if roles.get(self.cluster, "data.categorical") != "data.categorical":
            what = f"{self.cluster!r} is in {roles[self.cluster]}"
            raise ConfigError("data.cluster", what, f"use a categorical column or one of {', '.join(PERIODS)}")
        if len(set(self.slices)) < len(self.slices):
            raise ConfigError("data.slices", "names a column twice", "name it once")

    @property
    def kind(self) -> Task:
        """The task as an enum."""
        return Task(self.task)

    @property
    def n_classes(self) -> int:
        """The number of classes, as far as the config says it."""
        return self.classes if isinstance(self.classes, int) else len(self.classes)

    @property
    def words(self) -> tuple[str, ...]:
        """The classes as words in the order of their codes, the positive one last; empty where they are not listed."""
        words = () if isinstance(self.classes, int) else tuple(map(_word, self.classes))
        return tuple(sorted(words, key=self.positive_word.__eq__)) if self.positive_word else words

    @property
    def positive_word(self) -> str:
        """The positive class as a word; empty where it is not said."""
        return "" if self.positive is None else _word(self.positive)

    @property
    def categories(self) -> list[str]:
        """Every column read as a category: the features, then slices and a cluster that are no features."""
        extra = [*self.slices, *([self.cluster] if self.cluster not in ("", *PERIODS) else [])]
        return self.categorical + [c for c in dict.fromkeys(extra) if c not in self.categorical]


def _word(label: Any) -> str:
    """A label of the config as the data spells it: YAML reads true as a boolean and 7 as a number."""
    return str(label).lower() if isinstance(label, bool) else str(label)
