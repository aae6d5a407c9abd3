"""Seconds of Evidently's default drift preset on a stored table, in an environment of its own.

python -m venv /tmp/evidently && /tmp/evidently/bin/pip install 'evidently==0.7.21' 'pandas<3'
EVIDENTLY_PYTHON=/tmp/evidently/bin/python python -m pytest benchmarks/kernels/bench_drift.py -k evidently

Or on two Parquet files: benchmarks/engine/monitor/bench_window.py.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

if len(sys.argv) == 3:  # two Parquet files
    windows = [pd.read_parquet(path) for path in sys.argv[1:]]
else:
    with np.load(sys.argv[1]) as archive:
        windows = [pd.DataFrame(archive[name]).rename(columns=str) for name in ("reference", "live")]
began = time.perf_counter()
Report([DataDriftPreset()]).run(reference_data=windows[0], current_data=windows[1])
print(json.dumps({"seconds": time.perf_counter() - began}))
