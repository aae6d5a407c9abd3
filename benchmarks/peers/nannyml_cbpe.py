"""NannyML's confidence-based performance estimation (CBPE) of AUROC on stored windows, in an environment of its own.

python -m venv /tmp/nannyml && /tmp/nannyml/bin/pip install 'nannyml==0.13.1' 'pandas<3' statsmodels
NANNYML_PYTHON=/tmp/nannyml/bin/python python -m pytest benchmarks/engine/monitor/bench_labelfree.py -s

Reads an .npz with reference_score and reference_label (K, N) and live_score (K, M); prints one JSON object: the
estimates (K,), and the seconds of one pair of fit and estimate (K,).
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

with np.load(sys.argv[1]) as archive:
    windows = {name: archive[name] for name in ("reference_score", "reference_label", "live_score")}
estimates, seconds = [], []
for old, label, new in zip(*windows.values(), strict=True):
    reference = pd.DataFrame({"score": old, "said": (old >= 0.5).astype(int), "label": label.astype(int)})
    live = pd.DataFrame({"score": new, "said": (new >= 0.5).astype(int)})
    began = time.perf_counter()
    estimator = nannyml.CBPE(
        metrics=["roc_auc"],
        y_pred_proba="score",
        y_pred="said",
        y_true="label",
        problem_type="classification_binary",
        chunk_number=1,
    )
    found = estimator.fit(reference).estimate(live)
    seconds.append(time.perf_counter() - began)
    frame = found.filter(period="analysis").to_df()
    estimates.append(float(frame[("roc_auc", "value")].iloc[0]))
print(json.dumps({"estimates": estimates, "seconds": seconds}))
