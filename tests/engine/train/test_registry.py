"""What a config may name. The trusted package of these tests is `corridor`, written anew for every test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.train.conf import TabularConf
from engine.train.model import TabularModel
from engine.train.registry import CURE, described, resolve, trusted_packages

PACKAGE = """\
import os
from collections import OrderedDict
from os import system
import lightning
from lightning import LightningModule
from lightning.pytorch.demos.boring_classes import BoringModel
from engine.train.model import Model, TabularModel

class Mine(Model):
    pass

def function():
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the package `corridor`, importable."""
    folder = tmp_path / "corridor"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "models.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("TIDEGATE_TRUST", raising=False)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("corridor")]:
        del sys.modules[name]


def refusal(target: str, *trusted: str) -> str:
    with pytest.raises(ConfigError) as error:
        resolve(target, trusted)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"model._target_:{target}: ")
    return str(error.value).removeprefix(f"model._target_:{target}: ")


def test_ours_needs_no_trust() -> None:
    assert resolve("engine.train.model.TabularModel") is TabularModel


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "lightning.LightningModule",
        "engine.train.model.Model",  # ours, and not on the list
        "engine.train.model.TabularModel.mro",
        "corridors.models.Mine",  # begins like the trusted one
        "TabularModel",
        "",
        ".",
        "..corridor.models.Mine",
        "corridor/models.Mine",
    ],
)
def test_an_untrusted_name_is_refused_before_it_is_imported(target: str, package: Path) -> None:
    before = set(sys.modules)
    assert refusal(target, "corridor") == f"this class is not on the list of trusted ones - {CURE}"
    assert set(sys.modules) == before


def test_a_class_of_a_trusted_package(package: Path) -> None:
    found = resolve("corridor.models.Mine", ("corridor",))
    assert found.__name__ == "Mine"
    assert resolve("corridor.models.Mine", ("corridor.models",)) is found
    assert refusal("corridor.models.Mine") == f"this class is not on the list of trusted ones - {CURE}"
    assert refusal("corridor.models.Mine", "corridor.models.Mine").startswith("this class is not on the list")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("system", "this is not a LightningModule - name a subclass of lightning.LightningModule"),
        ("function", "this is not a LightningModule - name a subclass of lightning.LightningModule"),
        ("OrderedDict", "this is not a LightningModule - name a subclass of lightning.LightningModule"),
        ("os", "this is not a LightningModule - name a subclass of lightning.LightningModule"),
        ("BoringModel", f"the class really lives in lightning.pytorch.demos.boring_classes - {CURE}"),
        ("TabularModel", f"the class really lives in engine.train.model - {CURE}"),
        ("Model", f"the class really lives in engine.train.model - {CURE}"),
        ("Absent", "corridor.models has no 'Absent' - check the spelling"),
    ],
)
def test_a_trusted_module_is_no_corridor_to_another(name: str, message: str, package: Path) -> None:
    assert refusal(f"corridor.models.{name}", "corridor") == message


def test_a_path_through_a_module_is_no_corridor(package: Path) -> None:
    cure = "install the package or run where it lies"
    assert refusal("corridor.models.os.system", "corridor") == f"no module 'corridor.models.os' - {cure}"
    assert refusal("corridor.absent.Mine", "corridor") == f"no module 'corridor.absent' - {cure}"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import corridor.nowhere", "no module 'corridor.nowhere' - install the package or run where it lies"),
        ("1 / 0", "corridor.broken cannot be imported (ZeroDivisionError: division by zero) - mend the module"),
        ("import os\nos.nothing", "cannot be imported (AttributeError: module 'os' has no attribute 'nothing')"),
        ("def :", "cannot be imported (SyntaxError: invalid syntax (broken.py, line 1)) - mend the module"),
        ("raise ValueError('one\\ntwo')", "cannot be imported (ValueError: one two) - mend the module"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(code: str, said: str, package: Path) -> None:
    (package / "broken.py").write_text(code)
    assert said in refusal("corridor.broken.Mine", "corridor")


def test_a_module_beside_the_command_is_found(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "corridor_beside.py").write_text(PACKAGE)
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert resolve("corridor_beside.Mine", ("corridor_beside",)).__name__ == "Mine"


def test_trust_comes_from_the_config_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_TRUST", raising=False)
    assert trusted_packages() == ()
    assert trusted_packages(["a", " ", "b.c"]) == ("a", "b.c")
    monkeypatch.setenv("TIDEGATE_TRUST", " d, a,,")
    assert trusted_packages(["a"]) == ("a", "d")


def test_what_stands_for_a_class_before_it_is_imported() -> None:
    foreign: set[str] = set()
    assert described("engine.train.model.TabularModel", (), foreign) is TabularConf
    assert foreign == set()
    described("corridor.models.Mine", ("corridor",), foreign)(any=1, argument=2)
    assert foreign == {"corridor.models.Mine"}
    with pytest.raises(ConfigError, match="not on the list"):
        described("corridor.models.Mine", (), foreign)
    assert "corridor" not in sys.modules
