"""Detectors: alarm for alarm those of River, on every cut of the stream into chunks, from every checkpoint."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from river import drift
from river.drift import binary
from scipy import stats

from kernels.errors import BackendUnavailable, OptionError, ShapeError, StateError
from kernels.reference.windows import _draw
from kernels.stream import ADWIN, CUSUM, DDM, EDDM, KSWIN, PageHinkley, Streams, from_state
from kernels.stream.detectors import critical_gap

Make = Callable[..., Any]


def numbers(rows: int, seed: int = 0) -> np.ndarray:
    """Normal values whose mean jumps every 500 rows."""
    rng = np.random.default_rng(seed)
    return rng.normal(np.repeat(rng.normal(0, 1, -(-rows // 500)), 500)[:rows], 1)


def errors(rows: int, seed: int = 0) -> np.ndarray:
    """0 and 1, whose rate jumps every 500 rows."""
    rng = np.random.default_rng(seed)
    return (rng.random(rows) < np.repeat(rng.uniform(0.05, 0.5, -(-rows // 500)), 500)[:rows]).astype(np.float64)


def told(peer: Any, values: np.ndarray) -> list[int]:
    """Rows of River's alarms."""
    found = []
    for row, value in enumerate(values.tolist()):
        peer.update(value)
        if peer.drift_detected:
            found.append(row)
    return found


PAIRS: list[tuple[str, Make, Make, np.ndarray]] = [
    ("ph", PageHinkley, drift.PageHinkley, numbers(5000)),
    (
        "ph up",
        partial(PageHinkley, warm_start=10, delta=0.1, threshold=8.0, fading=0.99, mode="up"),
        partial(drift.PageHinkley, min_instances=10, delta=0.1, threshold=8.0, alpha=0.99, mode="up"),
        numbers(5000, 1),
    ),
    (
        "ph down",
        partial(PageHinkley, threshold=12.0, mode="down"),
        partial(drift.PageHinkley, threshold=12.0, mode="down"),
        numbers(5000, 2),
    ),
    ("adwin", ADWIN, drift.ADWIN, numbers(20000, 3)),
    (
        "adwin at every value, far from 0",
        partial(ADWIN, delta=0.05, clock=1, max_buckets=3, min_window=3, grace=20),
        partial(drift.ADWIN, delta=0.05, clock=1, max_buckets=3, min_window_length=3, grace_period=20),
        1e6 + numbers(5000, 4),
    ),
    ("adwin of errors", partial(ADWIN, delta=0.3), partial(drift.ADWIN, delta=0.3), errors(20000, 5)),
    ("ddm", DDM, binary.DDM, errors(20000, 6)),
    ("ddm soon", partial(DDM, warm_start=5, threshold=1.5), partial(binary.DDM, 5, 2.0, 1.5), errors(5000, 7)),
    ("eddm", EDDM, binary.EDDM, errors(20000, 8)),
    ("eddm late", partial(EDDM, warm_start=10, level=0.7), partial(binary.EDDM, 10, 0.95, 0.7), errors(20000, 9)),
    (
        "kswin without chance",
        partial(KSWIN, window=40, recent=20, alpha=0.01),
        partial(drift.KSWIN, window_size=40, stat_size=20, alpha=0.01, seed=1),
        np.round(numbers(1500, 10), 1),  # with ties
    ),
]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("make", "peer", "values"), [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS])
def test_alarms_are_those_of_river(make: Make, peer: Make, values: np.ndarray, backend: str) -> None:
    expected = told(peer(), values)
    assert expected  # a stream without alarms would prove nothing
    assert make(backend=backend).update(values).row.tolist() == expected


SETTINGS = ([0.002, 0.1, 0.5], [1, 3, 32, 32, 50], [2, 5, 40, 100], [1, 5, 100], [1, 10, 500])


def long_stream(law: str, rng: np.random.Generator) -> np.ndarray:
    if law == "small late rise":  # only borders far back tell of it
        return rng.normal(size=50_000) + 0.07 * (np.arange(50_000) > 30_000)
    rows = int(rng.integers(5_000, 60_000))
    if law == "ramp far from 0":
        return 1e6 + rng.normal(size=rows) + np.linspace(0, 1, rows)
    if law == "rate":
        return (rng.random(rows) < np.linspace(0.1, 0.2, rows)) * 1.0
    return rng.standard_t(2, size=rows) * 1e5 if law == "heavy tails" else np.cumsum(rng.normal(size=rows)) * 0.01


@pytest.mark.parametrize("law", ["small late rise", "ramp far from 0", "rate", "heavy tails", "walk"])
def test_looks_that_adwin_spares_would_have_found_nothing(law: str, record_property: Any) -> None:
    """Long windows under settings of all kinds: a border that is not looked at is one that River does not cut at."""
    alarms, values = 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = long_stream(law, rng)
        parts = np.split(x, np.sort(rng.integers(0, len(x), 3)))
        settings = [rng.choice(choices).item() for choices in SETTINGS]
        delta, clock, most, shortest, grace = [0.002, 32, 5, 5, 10] if law == "small late rise" else settings
        peer = drift.ADWIN(delta, clock=clock, max_buckets=most, min_window_length=shortest, grace_period=grace)
        ours = ADWIN(delta=delta, clock=clock, max_buckets=most, min_window=shortest, grace=grace)
        expected = told(peer, x)
        assert [row for part in parts for row in ours.update(part).row.tolist()] == expected
        alarms, values = alarms + len(expected), values + len(x)
    assert alarms
    record_property(f"ADWIN on {law}: River's alarms", f"all {alarms} of {values} values, 8 streams")


def test_adwin_of_many_streams_is_that_of_each_alone() -> None:
    """River's alarms of each of many streams, across chunks, of one that misses values, and with clocks of their own;
    and the state of each is that of the stream alone, bit for bit."""
    rng = np.random.default_rng(3)
    rows = 12_000
    columns = [rng.normal(size=rows) for _ in range(3)]  # long windows: few alarms
    columns += [numbers(rows, 20), 1e6 + numbers(rows, 21), np.cumsum(rng.normal(size=rows)) * 0.02]
    columns += [rng.normal(size=rows) + (np.arange(rows) > late) for late in (4_000, 4_000, 9_000, 150)]
    columns += [np.zeros(rows), rng.standard_t(2, size=rows) * 1e5, errors(rows, 22)]
    values = np.column_stack(columns)
    late = values.copy()
    late[7_003:7_010, 9] = np.nan  # its looks come at other rows from here on
    for table in (values, late):
        several, found = ADWIN(table.shape[1]), []
        for chunk in np.split(table, [31, 32, 2_000, 2_005, 9_999]):
            found += flat(several.update(chunk))
        assert {c for _, c, _ in found} >= {3, 4, 5, 6, 7, 8, 9, 12}
        for column, x in enumerate(table.T):
            there = np.flatnonzero(~np.isnan(x))
            assert [row for row, c, _ in found if c == column] == there[told(drift.ADWIN(), x[there])].tolist()
            alone = ADWIN()
            alone.update(x)
            assert np.array_equal(alone._state[0], several._state[column])
    fewer = ADWIN(8, clock=[32] * 4 + [32, 32, 16, 32])  # the second group has a clock of its own
    got = fewer.update(values[:, :8])
    assert got.of(6).tolist() == told(drift.ADWIN(clock=16), values[:, 6])
    assert got.of(7).tolist() == told(drift.ADWIN(), values[:, 7])


ALL: list[Make] = [
    partial(CUSUM, threshold=3.0),
    partial(PageHinkley, threshold=10.0),
    ADWIN,
    DDM,
    EDDM,
    partial(KSWIN, window=50, recent=15, alpha=0.05, seed=2**40 + 7),
]


def stream(make: Make, rows: int, columns: int) -> np.ndarray:
    draw = errors if make in (DDM, EDDM) else numbers
    values = np.column_stack([draw(rows, seed) for seed in range(columns)])
    values[np.random.default_rng(1).random(values.shape) < 0.05] = np.nan
    return values


def flat(alarms: Any) -> list[tuple[int, ...]]:
    return list(zip(alarms.row.tolist(), alarms.column.tolist(), alarms.side.tolist(), strict=True))


@pytest.mark.parametrize("make", ALL)
def test_chunks_checkpoints_and_backends_change_nothing(make: Make) -> None:
    values = stream(make, 3000, 3)
    whole = make(3)
    expected = flat(whole.update(values))
    assert expected
    assert whole.rows == 3000
    assert whole.missing.tolist() == np.isnan(values).sum(0).tolist()

    definition = make(3, backend="reference")
    assert flat(definition.update(values)) == expected
    assert np.allclose(definition._state, whole._state, rtol=1e-12, atol=1e-12)

    pieces, found = make(3), []
    for chunk in np.split(values, [1, 2, 40, 1000, 1000, 2950]):
        found += flat(pieces.update(chunk))
        header, arrays = pieces.state()
        stored = io.BytesIO()
        np.savez(stored, **arrays)
        stored.seek(0)
        with np.load(stored, allow_pickle=False) as archive:
            pieces = from_state(header, {name: archive[name] for name in archive.files})
    assert found == expected
    assert np.array_equal(pieces._state, whole._state)
    assert pieces.missing.tolist() == whole.missing.tolist()


@pytest.mark.parametrize("make", [m for m in ALL if not (isinstance(m, partial) and m.func is KSWIN)])
def test_a_nan_is_skipped_and_layouts_and_dtypes_are_one(make: Make) -> None:
    values = stream(make, 3000, 2)
    expected = make(2).update(values)
    for column in range(2):
        there = ~np.isnan(values[:, column])
        alone = make().update(values[there, column])
        assert np.flatnonzero(there)[alone.row].tolist() == expected.of(column).tolist()
    assert flat(make(2).update(np.asfortranarray(values))) == flat(expected)
    whole = np.round(np.nan_to_num(values))
    as_floats = flat(make(2).update(whole))
    assert flat(make(2).update(whole.astype(np.int8))) == as_floats
    assert flat(make(2).update(whole.astype(np.float32))) == as_floats


def test_every_stream_has_thresholds_of_its_own() -> None:
    values = numbers(4000)
    both = CUSUM(2, threshold=[3.0, 6.0], mean=[0.0, 0.5]).update(np.column_stack([values, values]))
    assert both.of(0).tolist() == CUSUM(threshold=3.0).update(values).row.tolist()
    assert both.of(1).tolist() == CUSUM(threshold=6.0, mean=0.5).update(values).row.tolist()
    assert len(both.of(0)) > len(both.of(1)) > 0


def test_an_alarm_says_which_way_and_a_warning_comes_before() -> None:
    rng = np.random.default_rng(0)
    calm, high, low = rng.normal(0, 1, 400), rng.normal(3, 1, 40), rng.normal(-3, 1, 40)
    for detector in (CUSUM(threshold=8.0), PageHinkley(threshold=50.0), ADWIN(delta=1e-4), KSWIN(alpha=1e-7)):
        up, down = (detector.with_options().update(np.concatenate([calm, tail])) for tail in (high, low))
        assert (up.side[0], down.side[0]) == (1, -1)
        assert min(up.row[0], down.row[0]) >= 400
    detector = DDM()
    detector.update(np.tile([0.0, 0.0, 0.0, 0.0, 1.0], 40))
    assert not detector.warning[0]
    while not detector.warning[0]:
        assert not len(detector.update(np.ones(1)))
    assert len(detector.update(np.ones(100)))


@pytest.mark.parametrize("n", [8, 20, 30, 50])
def test_the_critical_distance_is_that_of_the_exact_test(n: int) -> None:
    ladder = np.arange(n)
    for alpha in (0.2, 0.05, 0.005, 1e-4):
        h = critical_gap(alpha, n)
        if h <= n:
            assert stats.ks_2samp(ladder, ladder + h - 0.5, method="exact").pvalue <= alpha
        if h - 1 > n / 10:
            assert stats.ks_2samp(ladder, ladder + h - 1.5, method="exact").pvalue > alpha


def test_kswin_draws_every_older_value_equally_often() -> None:
    counts = np.bincount([i for row in range(3000) for i in _draw(20, 5, row, 1, (7, 9))], minlength=20)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert all(len(set(_draw(20, 20, row, 0, (1, 1)))) == 20 for row in range(50))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CUSUM(0), "columns: 0 - choose 1 or more"),
        (lambda: CUSUM(std=0.0), "std: 0 - choose a number above 0"),
        (lambda: CUSUM(threshold=float("nan")), "threshold: nan - choose a number above 0"),
        (lambda: CUSUM(2, slack=[0.5, -1.0]), "slack: -1 - choose 0 or more"),
        (lambda: CUSUM(2, slack=[0.5] * 3), r"slack: shape \(3,\) - pass a number, or one for each of 2 streams"),
        (lambda: PageHinkley(mode="sideways"), "mode: 'sideways' is not known"),
        (lambda: PageHinkley(warm_start=1.5), "warm_start: 1.5 - choose a whole number of 1 or more"),
        (lambda: ADWIN(max_buckets=1), "max_buckets: 1 - choose 2 or more"),
        (lambda: ADWIN(delta=1.0), "delta: 1 - choose a number between 0 and 1"),
        (lambda: KSWIN(window=59, recent=30), r"window: 59 holds fewer than 2 \* 30 values"),
        (lambda: KSWIN(seed=-1), r"seed: -1 - choose 0 up to 2\*\*53"),
        (lambda: DDM().update(np.array([0.0, 2.0])), "x: 2 in column 0 is not within 0 and 1 - clip it"),
        (lambda: CUSUM().update(np.array([np.inf])), "x: inf in column 0 is not finite - clip it, or pass NaN"),
        (lambda: CUSUM(backend="gpu"), "backend: 'gpu' is not known"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


def test_after_a_refusal_nothing_has_changed() -> None:
    detector = CUSUM(2)
    detector.update(np.ones((5, 2)))
    before = detector.state()[1]["state"]
    with pytest.raises(OptionError, match="inf in column 1"):
        detector.update(np.array([[1.0, 1.0], [1.0, np.inf]]))
    assert np.array_equal(detector.state()[1]["state"], before)
    assert detector.rows == 5
    with pytest.raises(ShapeError, match=r"x: shape \(5, 3\) - pass \(M, 2\), one column a stream"):
        detector.update(np.zeros((5, 3)))


def test_what_cannot_be_read_back_is_refused() -> None:
    header, arrays = CUSUM(2).state()
    assert isinstance(from_state(header, arrays), Streams)
    for bad in ("{", "[]", header.replace("cusum", "cosum"), header.replace('"version": 1', '"version": 9')):
        with pytest.raises(StateError, match="state: cannot be read"):
            from_state(bad, arrays)
    with pytest.raises(StateError, match="shapes"):
        from_state(header, arrays | {"state": arrays["state"][:1]})


def test_there_is_no_cuda_form() -> None:
    from kernels import dispatch

    with pytest.raises(BackendUnavailable, match="'stream' has no 'cuda' form"):
        dispatch.load("stream", "cuda")
