"""Seconds of NannyML's univariate KS and JS on a stored table, one chunk, in an environment of its own.

python -m venv /tmp/nannyml && /tmp/nannyml/bin/pip install 'nannyml==0.13.1' 'pandas<3' statsmodels
NANNYML_PYTHON=/tmp/nannyml/bin/python python -m pytest benchmarks/kernels/bench_drift.py -k nannyml

Or on two Parquet files: benchmarks/engine/monitor/bench_window.py.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # no network inside the timed part

import nannyml
import numpy as np
import pandas as pd

if len(sys.argv) == 3:  # two Parquet files
    reference, live = (pd.read_parquet(path) for path in sys.argv[1:])
else:
    with np.load(sys.argv[1]) as archive:
        reference, live = (pd.DataFrame(archive[name]).rename(columns=str) for name in ("reference", "live"))
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(reference.columns),
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon"],
    categorical_methods=["chi2", "jensen_shannon"],
    chunk_number=1,
)
began = time.perf_counter()
calculator.fit(reference).calculate(live)
print(json.dumps({"seconds": time.perf_counter() - began}))
