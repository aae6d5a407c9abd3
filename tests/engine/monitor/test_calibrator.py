"""Newton's method of the calibration, whose curvature is kept over several steps, ends where SciPy's ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from engine.monitor.calibrator import TOLERANCE, _loss, _newton


@pytest.mark.parametrize("far", [0.0, 3.0])
def test_coefficients_are_those_of_scipy(far: float) -> None:
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(4000), rng.normal(size=(4000, 6)), rng.random((4000, 3)) < 0.1])
    theta = rng.normal(0, 1.5, design.shape[1])
    truth = (rng.random(4000) < special.expit(design @ theta)).astype(float)
    prior, weight = np.eye(design.shape[1])[1], np.r_[1e-3, np.ones(design.shape[1] - 1)]

    def slope(at: np.ndarray) -> np.ndarray:
        found: np.ndarray = design.T @ (special.expit(design @ at) - truth) + weight * (at - prior)
        return found

    best = optimize.minimize(
        lambda at: _loss(design, truth, at, prior, weight), prior, jac=slope, method="BFGS", options={"gtol": 1e-6}
    )
    found = _newton(design, truth, prior, weight, prior + far)
    assert _loss(design, truth, found, prior, weight) <= best.fun + 4 * TOLERANCE * len(truth)
    np.testing.assert_allclose(found, best.x, atol=1e-3)
