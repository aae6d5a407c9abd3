"""Imports beside other work."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.train.conf import SearchConf
from engine.train.pack.search import PackSearch
from engine.train.sweep import LocalSearch
from engine.train.warmup import Warmup, resting_collector

MODULE = """\
import gc, threading
enabled, thread = gc.isenabled(), threading.current_thread().name
"""


def test_a_module_is_imported_in_a_thread_while_the_collector_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slowly.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    warmup = Warmup("slowly")
    warmup.start()
    warmup.start()  # once is enough
    warmup.close()
    try:
        import slowly  # type: ignore[import-not-found]

        assert (slowly.enabled, slowly.thread) == (False, "imports")
        assert gc.isenabled()
        again = Warmup("slowly")  # it is there: no thread
        again.start()
        assert not [thread for thread in threading.enumerate() if thread.name == "imports"]
        again.close()
    finally:
        del sys.modules["slowly"]
        gc.unfreeze()


def test_a_module_that_cannot_be_imported_is_the_callers_to_find_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_here.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    warmup = Warmup("broken_here")
    warmup.start()
    warmup.close()
    assert capsys.readouterr().err == ""
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        import broken_here  # type: ignore[import-not-found]  # noqa: F401


def test_the_collector_is_left_as_it_was() -> None:
    gc.disable()
    try:
        with resting_collector():
            pass
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0  # what has come by then is never looked through again
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize(("kind", "module"), [(PackSearch, "engine.train.pack.run"), (LocalSearch, "engine.train.fit")])
def test_a_search_in_this_process_begins_with_its_imports(kind: type, module: str) -> None:
    """Making one loads nothing, or a typo would wait for torch; starting it does."""
    program = (
        "import sys\n"
        f"from {kind.__module__} import {kind.__name__}\n"
        "from engine.train.conf import SearchConf\n"
        f"search = {kind.__name__}(SearchConf(backend='local'))\n"
        "assert 'torch' not in sys.modules\n"
        "search.start()\n"
        "search.close()\n"
        f"assert {module!r} in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_closing_what_was_never_started_is_nothing() -> None:
    LocalSearch(SearchConf(backend="local")).close()
