"""Names of trials: trial-000, trial-001 and so on, in the order in which they were started."""


def trial_id(index: int) -> str:
    """The name of the trial with this index."""
    return f"trial-{index:03d}"


def index_of(trial: str) -> int:
    """The index in the name of a trial: 7 of trial-007."""
    return int(trial.rpartition("-")[2])
