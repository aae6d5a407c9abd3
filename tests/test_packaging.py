"""What an installed Tidegate has in it: built once into a wheel, and looked at from outside the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from engine import __version__

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TAKEN = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "engine", "kernels", "conf", "tests")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy of what is under version control, so that no build output of ours is left behind."""
    source = tmp_path_factory.mktemp("source")
    for name in TAKEN:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.nbc", "*.nbi"))
        elif path.exists():
            shutil.copy(path, source / name)
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    (source / "dist").mkdir()
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(next((source / "dist").glob("*.whl")))


def files(folder: str, *endings: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for ending in endings for path in (ROOT / folder).rglob(f"*{ending}")}


def test_the_config_travels(wheel: zipfile.ZipFile) -> None:
    conf = files("conf", ".yaml")
    assert "conf/config.yaml" in conf
    assert {f"engine/{name}" for name in conf} <= set(wheel.namelist())
    assert "engine/conf/__init__.py" in wheel.namelist()


def test_sources_styles_and_types_travel(wheel: zipfile.ZipFile) -> None:
    expected = files("engine", ".py", ".css", "py.typed") | files("kernels", ".py", ".cu", ".cuh", "py.typed")
    assert "engine/report/page.css" in expected
    assert any(name.endswith(".cu") for name in expected)
    assert expected <= set(wheel.namelist())


def test_only_two_packages_are_installed(wheel: zipfile.ZipFile) -> None:
    assert {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" not in name} == {"engine", "kernels"}


def test_the_command(wheel: zipfile.ZipFile) -> None:
    info = f"tidegate-{__version__}.dist-info"
    assert "tidegate = engine.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    said = wheel.read(f"{info}/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in said
    assert "\nLicense-Expression: Apache-2.0\n" in said
    for extra in ("cluster", "dev", "gpu", "postgres"):
        assert f"\nProvides-Extra: {extra}\n" in said


def test_it_works_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked elsewhere, with the checkout out of sight: the config composes."""
    wheel.extractall(tmp_path / "site")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'site')!r}]; "
        "from engine import cli; assert 'site' in cli.__file__; "
        "sys.exit(cli.run(['loop', 'experiment=flights', '--cfg', 'job']))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "  name: flights\n" in done.stdout


# ---- pyproject.toml ------------------------------------------------------------------------------------------------


def lines() -> list[str]:
    """Every line that names a requirement."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    named = [line.strip() for line in block.splitlines() if re.match(r'\s*(?:\w+ = \[)?"', line)]
    return named + [line for line in block.splitlines() if re.match(r'\w+ = \["', line)]


def test_requirements_are_ranges_and_installed_ones_are_inside() -> None:
    from packaging.requirements import Requirement

    extras = PROJECT["project"]["optional-dependencies"]
    for text in [*PROJECT["project"]["dependencies"], *extras["dev"], *extras["postgres"]]:
        requirement = Requirement(text)
        assert requirement.specifier, text
        assert "==" not in text.replace("==13.0.*", "")
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        assert requirement.specifier.contains(installed, prereleases=True), f"{text}: {installed} is installed"


def test_every_extra_names_the_file_that_needs_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for extra in ("cluster", "gpu", "postgres"):
        block = re.search(rf"^{extra} = \[[^]]*?(?:\[[^]]*\][^]]*?)*\].*$", text, re.MULTILINE)
        assert block, extra
        named = re.findall(r"# (\S+?):?(?: |$)", block.group(), re.MULTILINE)
        assert named, extra
        for file in named:
            assert (ROOT / file).exists(), file


def test_files_that_pyproject_names_exist() -> None:
    """Beside each requirement stands the file that needs it."""
    text = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r"# ((?:engine|kernels|tests|experiments)/[\w./]+)", text)
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_pythons() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))
