"""Stage 3, monitor: what changed, and does it show.

conf.py alarm thresholds; columns.py Arrow columns as the kernels take them; drift.py features and predictions against a
reference; joint.py all columns as one; labels.py labels once they are in; harm.py what a drift can cost this model;
performance.py realised performance once labels are in; risk.py the mean loss since the hold-out, looked at after every
row, and expected_risk.py the same before labels are in; decay.py the primary metric against its reference; report.py
all of it in one MonitorReport; shards.py the drift of files larger than memory, in shards that processes or Ray
(ray_map.py) may share.

Of files that no config describes: kinds.py what their columns are, portraits.py how a column moved in its own
unit, named.py performance of columns that somebody named.

labelfree.py is performance before labels are in: of a classifier from calibrated probabilities (classified.py,
calibrator.py, expected.py), of a regression from a model of its loss (losses.py), both on a basis of the row
(basis.py), where live rows lie in the reference's support (support.py); what it missed on labelled windows widens it
(misses.py). labelled.py holds the rows that these take.
"""
