"""Uncertainty of metrics: intervals, paired comparisons, tests, and how many rows they need.

    bootstrap         any metric, one model or a paired difference, overall and by slice
    delong            AUROC with its variance; two models with covariance, z and p-value; overall and by slice
    crossing          the combinations of several slicing columns as one more
    group_rates       shares by group with their replicates, for differences between groups
    influence         what each row weighs in a metric; moments: the law of the estimate that follows
    precision_bias    by how much an average precision flatters
    permutation_test  a paired difference of any metric against none
    mcnemar           paired accuracy, exact or mid-p
    wilson            interval of a proportion
    rows_needed       rows at which a paired difference would be found

Every function takes NumPy, CuPy or torch arrays on one device, computes there, and returns a frozen record of
Python numbers (arrays over slices are NumPy's). Weights are keyed by row id, so that results for two models,
slices, metrics, backends and thread counts are paired and equal. nan_policy is "raise" or "omit".
"""

from __future__ import annotations

from kernels.measures.table import MetricOptions
from kernels.resample.bootstrap import bootstrap
from kernels.resample.crossing import crossing
from kernels.resample.delong import delong
from kernels.resample.influence import Moments, influence, moments, precision_bias
from kernels.resample.intervals import wilson
from kernels.resample.permutation import permutation_test
from kernels.resample.power import rows_needed
from kernels.resample.proportions import mcnemar
from kernels.resample.rates import GroupRates, group_rates
from kernels.resample.records import (
    BootstrapResult,
    DelongResult,
    DelongSlices,
    McnemarResult,
    PermutationResult,
    SliceIntervals,
)

__all__ = [
    "BootstrapResult",
    "DelongResult",
    "DelongSlices",
    "GroupRates",
    "McnemarResult",
    "MetricOptions",
    "Moments",
    "PermutationResult",
    "SliceIntervals",
    "bootstrap",
    "crossing",
    "delong",
    "group_rates",
    "influence",
    "mcnemar",
    "moments",
    "permutation_test",
    "precision_bias",
    "rows_needed",
    "wilson",
]
