"""Errors of Hydra, OmegaConf and the operating system as one line: `where: what is wrong - what to do`."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Any, cast

from engine.config.habits import meant
from engine.errors import one_line as shortened

MOVED = {"search.address": "write cluster=ray cluster.address=HOST:PORT"}  # keys of earlier versions


def one_line(error: BaseException) -> str | None:
    """The line, or None where the error is not one that a person can mend."""
    line = _line(error)
    return None if line is None else shortened(line, 600)


def _line(error: BaseException) -> str | None:
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for cause in _chain(error):
        if isinstance(cause, yaml.YAMLError):
            return _yaml(cause)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _config(error)
    if str(error).startswith("Config group override must be"):  # Hydra's own check, and a bare ValueError
        return f"config: {error} - choose an option of a group by its name, such as data=flights"
    if isinstance(error, OSError) and error.filename is not None:  # a config file among them
        return f"{error.filename}: {error.strerror or type(error).__name__} - check the path and its permissions"
    if _raised_in(error, ("omegaconf", "hydra", "antlr4")):  # an assertion or a slip of theirs: they were told nonsense
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return f"config: cannot be understood ({said}) - see --cfg job for every key"
    return None


def _raised_in(error: BaseException, packages: tuple[str, ...]) -> bool:
    """Is one of these packages where an error began."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and any(part in packages for part in Path(trace.tb_frame.f_code.co_filename).parts)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _yaml(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else "config"
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{where}: not YAML ({problem}) - mend the line"


def _config(error: BaseException) -> str:
    """The first pattern that fits; the text of an error and of its causes is all that Hydra gives."""
    from engine.errors import ConfigError

    causes = _chain(error)
    for cause in causes:
        if isinstance(cause, ConfigError):
            return str(cause)
    text = " ".join(" ".join(str(c).split()) for c in causes)
    named = re.search(r"(?:override|overriding|to config\. Key) '([^']+)'|full_key: (\S+)", text)
    where = next((g for g in named.groups() if g), "config").strip("'\"") if named else "config"
    for explain in (_unknown_key, _no_such_config, _wrong_type, _override_kind):
        line = explain(text, where)
        if line:
            return line
    return f"config:{where}: {' '.join(str(error).split())[:200]} - see --cfg job for every key"


def _unknown_key(text: str, where: str) -> str:
    unknown = re.search(r"Key '([^']+)' is not in struct|Key '([^']+)' not in '(\w+)'", text)
    if not unknown:
        return ""
    key = unknown.group(1) or unknown.group(2)
    if where in MOVED:
        return f"config:{where}: has moved - {MOVED[where]}"
    return f"config:{where}: there is no key {key!r} - {_near(where, key) or 'see --cfg job for every key'}"


def _no_such_config(text: str, where: str) -> str:
    folder = re.search(r"Additional config directory '(.+?)' not found", text)
    if folder:
        return f"command line:--config-dir: there is no folder {folder.group(1)} - check the path"
    primary = re.search(r"Cannot find primary config '([^']+)'", text)
    if primary:
        return f"command line:--config-name: there is no config {primary.group(1)} - leave it out, or add --config-dir"
    missing = re.search(r"Could not (?:find|load) '([^']+)'", text)
    if missing and missing.group(1).startswith("hydra/"):
        return f"config:{missing.group(1)}: this plugin of Hydra is not used - {meant(missing.group(1), '')}"
    if missing:
        options = re.search(r"Available options in '[^']*': (.*?)(?: Config search path| set_hydra|$)", text)
        choices = [name for name in (options.group(1).split() if options else []) if not name.endswith("_schema")]
        cure = f"choose one of {', '.join(choices)}" if choices else "check the name, or --info searchpath"
        return f"config:{missing.group(1)}: there is no such config - {cure}"
    group = re.search(r"Could not override '([^']+)'", text)
    if group and "No match in the defaults list" in text:
        return f"config:{group.group(1)}: there is no such group - see --info defaults"
    return ""


def _wrong_type(text: str, where: str) -> str:
    wrong = re.search(r"(Value '.*?' .*?(?:converted to \w+|is not a valid .*?))(?: full_key| reference|$)", text)
    if wrong:
        return f"config:{where}: {wrong.group(1)} - give a value of that type"
    entry = re.search(r"Invalid type assigned: dict is not a subclass of (\w+)", text)
    if entry:  # what Hydra makes of +gate.rules.mine={...}
        asked = re.search(r"merging override \+*([\w.]+)\.\w+=", text)
        mapping = asked.group(1) if asked else "gate.rules"
        return f"config:{where}: a new entry comes in its mapping - write it as +{mapping}={{{where}: {{...}}}}"
    reference = re.search(r"Interpolation key '([^']+)' not found", text)
    if reference:
        return f"config:{where}: it refers to {reference.group(1)!r}, which is not there - see --cfg job for every key"
    shape = re.search(
        r"((?:Invalid (?:value|type) assigned|Cannot (?:assign|merge|convert)).*?)(?: full_key| refer|$)", text
    )
    return f"config:{where}: {shape.group(1)[:160].rstrip('.')} - give a value of that type" if shape else ""


def _override_kind(text: str, where: str) -> str:
    """+ for what is there already, or ~ for what is not."""
    there = re.search(r"Could not append to config\. An item is already at '([^']+)'", text)
    if there:
        return f"config:{there.group(1)}: the key is there already - leave the + out"
    gone = re.search(r"Could not delete from config\. '([^']+)' does not exist", text)
    return f"config:{gone.group(1)}: there is no such key to remove - see --cfg job for every key" if gone else ""


def _near(where: str, key: str) -> str:
    """A known key of that place that looks like this one; of any place, where the place is not known."""
    from engine.config.schema import Config
    from engine.train.conf import TabularConf

    found: list[str] = []
    known = _fields(Config) | {"model": TabularConf}
    for part in where.split(".")[:-1]:
        inner = known.get(part)
        known = _fields(inner) if inner is not None else {}
    for names in (known, _fields(Config)):
        found = found or difflib.get_close_matches(key, names, 1)
    return f"did you mean {found[0]!r}?" if found else ""


def _fields(cls: type[Any]) -> dict[str, type[Any] | None]:
    """Fields of a conf class, and the class of those that are a group themselves."""
    made = {each.name: each.default_factory for each in dataclasses.fields(cls)}
    return {name: cast(type[Any], kind) if dataclasses.is_dataclass(kind) else None for name, kind in made.items()}
