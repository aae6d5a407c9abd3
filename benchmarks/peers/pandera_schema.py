"""Seconds of a pandera schema on a stored table, in an environment of its own.

python -m venv /tmp/pandera && /tmp/pandera/bin/pip install 'pandera[pandas]==0.35.0' 'pyarrow==26.0.1'
PANDERA_PYTHON=/tmp/pandera/bin/python python -m pytest benchmarks/engine/validate/bench_window.py -k pandera

Arguments: a Parquet file, and a JSON file of its columns (see `told` in the benchmark).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandera.pandas as pandera
import pyarrow.parquet as pq

frame = pq.read_table(sys.argv[1]).to_pandas()
columns = json.loads(Path(sys.argv[2]).read_text())
schema = pandera.DataFrameSchema(
    {
        column["name"]: pandera.Column(
            str(frame[column["name"]].dtype),
            nullable=column["missing"] > 0,
            unique=column["unique"],
            checks=[
                *([pandera.Check.in_range(*column["range"])] if column["range"] else []),
                *([pandera.Check.isin(column["categories"])] if column["categories"] else []),
            ],
        )
        for column in columns
    }
)
began = time.perf_counter()
schema.validate(frame, lazy=True)  # raises where a check does not hold
print(json.dumps({"seconds": time.perf_counter() - began}))
