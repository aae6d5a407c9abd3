"""The files beside the code tell the truth about it: pins, container file, README, commands."""

from __future__ import annotations

import ast
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from engine.cli import VERBS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_dependency_is_pinned_within_its_range() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate():
                pins[pin.name.lower().replace("_", "-")] = next(iter(pin.specifier)).version
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras["dev"], *extras["postgres"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[wanted.name.lower()], prereleases=True), text


def test_the_container_file_names_what_exists() -> None:
    text = (ROOT / "Dockerfile.cuda").read_text().replace("\\\n", " ")
    copied = [word for line in text.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert re.search(r"^FROM nvidia/cuda:13\.", text, re.M)
    assert 'ENTRYPOINT ["tidegate"]' in text
    assert text.index("USER tidegate") < text.index("ENTRYPOINT")
    extras = re.search(r"'\.\[([a-z,]+)\]'", text)
    assert extras is not None
    assert set(extras.group(1).split(",")) <= set(PROJECT["optional-dependencies"])
    assert any("cuda13x" in need for need in PROJECT["optional-dependencies"]["gpu"])


def test_the_readme_names_files_and_verbs_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    for verb in VERBS:
        assert f"tidegate {verb}" in text, verb


def test_the_readme_tells_every_module_of_the_engine() -> None:
    text = (ROOT / "README.md").read_text()
    tree = text[text.index("## Where things are") : text.index("## Numbers")]
    for path in (ROOT / "engine").iterdir():
        if path.suffix == ".py" and path.name != "__init__.py":
            assert path.name in tree, path.name
        elif (path / "__init__.py").exists():
            assert f"{path.name}/" in tree, path.name


@pytest.mark.parametrize("room", ["backtest", "config", "cycle", "models", "records", "scoring", "system", "verbs"])
def test_a_room_tells_its_files(room: str) -> None:
    """In the first lines of its __init__.py."""
    told = ast.get_docstring(ast.parse((ROOT / "engine" / room / "__init__.py").read_text()))
    files = {path.name for path in (ROOT / "engine" / room).glob("*.py")} - {"__init__.py"}
    assert files == set(re.findall(r"(?<![\w/])\w+\.py", told or ""))


def test_the_commands_that_the_documents_promise_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for document in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        named = set(re.findall(r"\bmake (\w+)\b(?=[`\s])", (ROOT / document).read_text()))
        assert named, document
        assert named <= targets, (document, named - targets)


def test_make_bench_finds_every_benchmark(pytestconfig: pytest.Config) -> None:
    """A folder in which pytest collects nothing measures nothing."""
    (words,) = re.findall(r"pytest (benchmarks .*)$", (ROOT / "Makefile").read_text(), re.M)
    patterns = pytestconfig.getini("python_files")
    files = list((ROOT / words.split()[0]).rglob("bench_*.py"))
    assert len(files) > 10
    assert all(any(fnmatch(path.name, pattern) for pattern in patterns) for path in files)
