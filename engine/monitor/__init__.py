"""Stage 3, monitor: what changed, and does it show.

conf.py alarm thresholds; columns.py Arrow columns as the kernels take them;
drift.py features and predictions against a reference; performance.py realised performance once labels are in; report.py
both in one MonitorReport; shards.py the drift of files larger than memory, in shards that processes or Ray (ray_map.py)
may share.
"""
