"""One small world for all tests of the loop; it is run once, and whoever wants to go on from there takes a copy."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.data.tables import write_parquet
from tests.engine.promote import servers
from tests.engine.world import LAST, YOUNG, Answer, World, make_world
from tests.patience import ENOUGH


@pytest.fixture(autouse=True, scope="session")
def processes_of_wandb_end() -> Iterator[None]:
    """It leaves them to the garbage collector, which complains of each that nobody waited for."""
    yield
    if "wandb" not in sys.modules:
        return
    sys.modules["wandb"].teardown()
    for found in gc.get_objects():
        if type(found) is subprocess.Popen and "wandb-core" in str(found.args):  # isinstance would ask proxies
            found.wait(ENOUGH)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    programs = servers.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with servers.serve(programs) as server:
        yield server


@pytest.fixture(scope="session")
def new(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Windows, labels and config; no loop has run. Take a copy of nothing: use `fresh`."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def fresh(new: World, tmp_path: Path) -> World:
    """A world whose loop has not begun, to write in."""
    return World(new.folder, tmp_path / "run")


@pytest.fixture(scope="session")
def young(new: World) -> World:
    """Founded, and two windows in which nothing needed to be done. To be looked at only."""
    world = World(new.folder, new.folder / "young")
    assert world.ask("loop", f"loop.until={YOUNG}").code == 0
    return world


@pytest.fixture(scope="session")
def ended(young: World) -> tuple[World, Answer]:
    """The loop up to LAST, and what its command answered. To be looked at only."""
    world = young.copy(young.folder / "ended")
    return world, world.ask("loop", f"loop.until={LAST}")


@pytest.fixture(scope="session")
def paused(young: World) -> World:
    """A challenger waits in preproduction for the labels of 2026-07. To be looked at only."""
    world = young.copy(young.folder / "paused")
    assert world.ask("loop", "loop.until=2026-06").code == 0
    return world


@pytest.fixture
def grown(young: World, tmp_path: Path) -> World:
    """A copy of `young`, to write in."""
    return young.copy(tmp_path / "run")


@pytest.fixture
def old(ended: tuple[World, Answer], tmp_path: Path) -> World:
    """A copy of what `ended` left, to write in."""
    return ended[0].copy(tmp_path / "run")


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """The one line on stderr that a refused command leaves, with nothing on stdout."""

    def read() -> str:
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        return captured.err.rstrip("\n")

    return read


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on a server that the tests start."""
    server: servers.Server = request.getfixturevalue("postgresql")
    return server.database()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of no project: numbers, words and a time; the numbers have moved."""
    rng = np.random.default_rng(5)
    when = pa.array(np.arange(500), pa.timestamp("us"))
    words = rng.choice(["a", "b"], 500)
    for name, shift in (("a", 0.0), ("b", 1.0)):
        table = pa.table({"x": rng.normal(shift, 1, 500), "y": rng.normal(0, 1, 500), "word": words, "when": when})
        write_parquet(table, tmp_path / f"{name}.parquet")
    return tmp_path / "a.parquet", tmp_path / "b.parquet"
