"""Streams, looked at after every value: detectors of change, and inference that holds at any time looked.

Values come in chunks, (M,) or (M, F) for F streams side by side; any two cuts of a stream into chunks give the same
alarms. A detector's contract is the mean number of values between two false alarms: `calibrate` chooses its threshold.
"""

from __future__ import annotations

from kernels.stream.calibration import Calibration, calibrate
from kernels.stream.detectors import ADWIN, CUSUM, DDM, EDDM, KSWIN, PageHinkley
from kernels.stream.sequences import Betting, ConfidenceSequence, upper_bound
from kernels.stream.streams import Alarms, Streams, from_state

__all__ = [
    "ADWIN",
    "Alarms",
    "Betting",
    "CUSUM",
    "Calibration",
    "ConfidenceSequence",
    "DDM",
    "EDDM",
    "KSWIN",
    "PageHinkley",
    "Streams",
    "calibrate",
    "from_state",
    "upper_bound",
]
