"""Drift between a reference window and a live window."""

from __future__ import annotations

from kernels.drift.binned import chisquare, hellinger_distance, jensen_shannon_distance, kl_divergence, psi
from kernels.drift.categorical import chi2_contingency, linf_distance, total_variation_distance
from kernels.drift.custom import custom
from kernels.drift.multivariate import (
    ReconstructionError,
    mmd,
    pca_reconstruction_error,
    sliced_wasserstein_distance,
)
from kernels.drift.pairs import TestResult
from kernels.drift.profile import Profile
from kernels.drift.table import DriftRow, DriftTable, Reason
from kernels.drift.univariate import (
    anderson_2samp,
    cramervonmises_2samp,
    energy_distance,
    ks_2samp,
    kuiper_2samp,
    mannwhitneyu,
    wasserstein_distance,
)

__all__ = [
    "DriftRow",
    "DriftTable",
    "Profile",
    "Reason",
    "ReconstructionError",
    "TestResult",
    "anderson_2samp",
    "chi2_contingency",
    "chisquare",
    "custom",
    "cramervonmises_2samp",
    "energy_distance",
    "hellinger_distance",
    "jensen_shannon_distance",
    "kl_divergence",
    "ks_2samp",
    "kuiper_2samp",
    "linf_distance",
    "mannwhitneyu",
    "mmd",
    "pca_reconstruction_error",
    "psi",
    "sliced_wasserstein_distance",
    "total_variation_distance",
    "wasserstein_distance",
]
