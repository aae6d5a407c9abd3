"""Step 2 of the cycle: is the window fit for use.

conf.py      ValidateConf: severities and tolerances
schema.py    Schema: what the reference looked like; inferred, edited by a person, compared
facts.py     one pass over each column: what the checks need to know of it
columns.py   checks of one column against its schema
rows.py      checks of the table: ids, rows, time, groups
leakage.py   does a feature alone tell the label
window.py    validate: all checks of a window in one report
"""

from __future__ import annotations

from engine.validate.conf import Severities, ValidateConf
from engine.validate.history import Blocking, blocking
from engine.validate.schema import ColumnSchema, Schema, diff, infer, widen
from engine.validate.skew import skew
from engine.validate.text import from_yaml, to_yaml
from engine.validate.window import validate

__all__ = [
    "Blocking",
    "ColumnSchema",
    "Schema",
    "Severities",
    "ValidateConf",
    "blocking",
    "diff",
    "from_yaml",
    "infer",
    "skew",
    "to_yaml",
    "validate",
    "widen",
]
