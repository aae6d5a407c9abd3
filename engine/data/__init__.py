"""Step 1 of the cycle: windows of rows from Parquet files, and the features a model eats.

conf.py      DataConf: which files, which columns, what the label is
tables.py    what every window table obeys: column types, missing values, fingerprint, split by time
sources.py   ParquetSource: the windows of a folder, local or S3, and their labels once they arrive
features.py  Encoder: standardised numbers and category codes, fitted on training rows only
"""

from __future__ import annotations

from engine.data.conf import DataConf
from engine.data.features import Encoder
from engine.data.sources import ParquetSource
from engine.data.tables import align, clusters, concat, fingerprint, split_by_time, write_parquet

__all__ = [
    "DataConf",
    "Encoder",
    "ParquetSource",
    "align",
    "clusters",
    "concat",
    "fingerprint",
    "split_by_time",
    "write_parquet",
]
