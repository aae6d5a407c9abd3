"""Stage 3, monitor: what changed, and does it show.

conf.py alarm thresholds; columns.py Arrow columns as the kernels take them; drift.py features and predictions against a
reference; harm.py what a drift can cost this model; performance.py realised performance once labels are in; report.py
all of it in one MonitorReport; shards.py the drift of files larger than memory, in shards that processes or Ray
(ray_map.py) may share. For files that no config describes: kinds.py what their columns are, portraits.py how a column
moved in its own unit, named.py performance of columns that somebody named.
"""
