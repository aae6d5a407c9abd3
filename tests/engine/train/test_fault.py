from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.train.fault import fault_of

CODE = """\
import json


def forward(x):
    return json.loads(x)


def step(x):
    return forward(x)
"""


def raised(code: Any, *args: object) -> Exception:
    with pytest.raises(Exception) as caught:
        code(*args)
    caught.value.__traceback__ = caught.tb.tb_next  # without this file, which is not ours either
    return caught.value


def package(folder: Path, name: str) -> ModuleType:
    """CODE as the module of that name, in a file that Python would find it in."""
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    made = ModuleType(name)
    exec(compile(CODE, str(path), "exec"), made.__dict__)
    return made


def test_the_innermost_line_that_is_not_ours_is_named(tmp_path: Path) -> None:
    """The library in which it broke is nobody's to mend; the line that called it is."""
    net = package(tmp_path, "shop.models.net")
    assert fault_of(raised(net.step, "{")).endswith("(char 1) (shop/models/net.py:5)")
    assert fault_of(raised(net.step, 3)).startswith("TypeError: ")


def test_a_module_alone_is_named_by_its_file(tmp_path: Path) -> None:
    assert fault_of(raised(package(tmp_path, "net").step, "{")).endswith("(net.py:5)")


def test_what_is_installed_is_named_where_nothing_else_is_on_the_way(tmp_path: Path) -> None:
    library = package(tmp_path / "site-packages", "library.core")
    assert fault_of(raised(library.step, "{")).endswith("(library/core.py:5)")
    net = package(tmp_path, "net")
    net.json = library  # its forward calls library.loads
    library.loads = library.step
    assert fault_of(raised(net.step, "{")).endswith("(net.py:5)")


def test_no_place_where_all_of_the_way_was_ours_or_a_librarys() -> None:
    import json

    said = fault_of(raised(json.loads, "{"))
    assert said == "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"


def test_a_line_of_our_own_stays_as_it_is() -> None:
    error = ConfigError("model.forward", "gives (5, 1) for N = 5 rows", "a binary model gives (N,)")
    assert fault_of(error) == "model.forward: gives (5, 1) for N = 5 rows - a binary model gives (N,)"


def test_one_line_without_secrets(tmp_path: Path) -> None:
    def broken() -> None:
        raise ValueError("first\nsecond token=hunter2 " + "x" * 500)

    said = fault_of(raised(broken))
    assert said.startswith("ValueError: first second token=***")
    assert "hunter2" not in said
    assert len(said.splitlines()) == 1
    assert len(said) < 300
