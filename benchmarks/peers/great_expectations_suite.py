"""Seconds of a Great Expectations suite on a stored table, in an environment of its own.

python -m venv /tmp/gx && /tmp/gx/bin/pip install 'great_expectations==1.24.1' 'pyarrow==26.0.1'
GX_PYTHON=/tmp/gx/bin/python python -m pytest benchmarks/engine/validate/bench_window.py -k expectations

Arguments: a Parquet file, and a JSON file of its columns (see `told` in the benchmark).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import great_expectations.expectations as expect
import pyarrow.parquet as pq

frame = pq.read_table(sys.argv[1]).to_pandas()
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
asset = context.data_sources.add_pandas("memory").add_dataframe_asset("window")
batch = asset.add_batch_definition_whole_dataframe("all")
suite = context.suites.add(gx.ExpectationSuite("schema"))
for column in json.loads(Path(sys.argv[2]).read_text()):
    name = column["name"]
    kind = str(frame[name].dtype)
    if not kind.startswith("datetime"):  # it does not know types with a time zone
        suite.add_expectation(expect.ExpectColumnValuesToBeOfType(column=name, type_=kind))
    suite.add_expectation(expect.ExpectColumnValuesToNotBeNull(column=name, mostly=1 - column["missing"] - 1e-9))
    if column["range"]:
        low, high = column["range"]
        suite.add_expectation(expect.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
    if column["categories"]:
        suite.add_expectation(expect.ExpectColumnValuesToBeInSet(column=name, value_set=column["categories"]))
    if column["unique"]:
        suite.add_expectation(expect.ExpectColumnValuesToBeUnique(column=name))
check = context.validation_definitions.add(gx.ValidationDefinition(data=batch, suite=suite, name="window"))
began = time.perf_counter()
result = check.run(batch_parameters={"dataframe": frame})
seconds = time.perf_counter() - began
failed = [str(r.expectation_config.type) + str(r.expectation_config.kwargs) for r in result.results if not r.success]
print(json.dumps({"seconds": seconds, "failed": failed, "expectations": len(result.results)}))
