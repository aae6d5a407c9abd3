"""Every error that kernels raises on purpose.

    KernelError
    |-- ShapeError (ValueError)           wrong number of axes, lengths that do not match
    |-- DTypeError (TypeError)            a dtype that cannot be compared exactly
    |-- DeviceError (ValueError)          arrays on different devices, or on the wrong one for the backend
    |-- MissingValueError (ValueError)    NaN under nan_policy="raise"
    |-- OptionError (ValueError)          an argument outside its set or range
    |-- ProfileError (ValueError)         a stored profile that cannot be read or does not fit
    |-- StateError (ValueError)           a stored state of a stream that cannot be read
    `-- BackendUnavailable (RuntimeError) the backend for these arrays is not installed

Each is also a builtin, so that callers who know nothing of us still catch it. A message is one line:
``field: what is wrong - what to do``.
"""

from __future__ import annotations

__all__ = [
    "BackendUnavailable",
    "DTypeError",
    "DeviceError",
    "KernelError",
    "MissingValueError",
    "OptionError",
    "ProfileError",
    "ShapeError",
    "StateError",
]


class KernelError(Exception):
    """Root of the tree: everything that kernels refuses."""


class ShapeError(KernelError, ValueError):
    """Wrong number of axes, or lengths that do not match."""


class DTypeError(KernelError, TypeError):
    """A dtype, or a pair of dtypes, whose values cannot be compared exactly."""


class DeviceError(KernelError, ValueError):
    """Arrays on different devices, or on a device that the backend asked for does not serve."""


class MissingValueError(KernelError, ValueError):
    """A NaN was met under ``nan_policy="raise"``."""


class OptionError(KernelError, ValueError):
    """An argument outside its set or range."""


class ProfileError(KernelError, ValueError):
    """A stored profile cannot be read, or does not fit the window it is compared with."""


class StateError(KernelError, ValueError):
    """A stored state of a detector cannot be read."""


class BackendUnavailable(KernelError, RuntimeError):
    """The backend that these arrays need is not installed or has no device."""
