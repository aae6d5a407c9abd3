"""Errors of Hydra, OmegaConf and the operating system as one line: `where: what is wrong - what to do`."""

from __future__ import annotations

import difflib
import re
from typing import Any, cast


def one_line(error: BaseException) -> str | None:
    """The line, or None where the error is not one that a person can mend."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for cause in _chain(error):
        if isinstance(cause, yaml.YAMLError):
            return _yaml(cause)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _config(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or type(error).__name__} - check the path and its permissions"
    return None


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
    from engine.errors import ConfigError

    causes = _chain(error)
    for cause in causes:
        if isinstance(cause, ConfigError):
            return str(cause)
    text = " ".join(" ".join(str(c).split()) for c in causes)
    unknown = re.search(r"Key '([^']+)' is not in struct|Key '([^']+)' not in '(\w+)'", text)
    named = re.search(r"(?:override|overriding) '([^']+)'|full_key: (\S+)", text)
    where = next((g for g in named.groups() if g), "config") if named else "config"
    if unknown:
        key = unknown.group(1) or unknown.group(2)
        near = _near(where, key)
        return f"config:{where}: there is no key {key!r} - {near or 'see --cfg job for every key'}"
    first = " ".join(str(error).split())
    missing = re.search(r"Could not find '([^']+)'", text) or re.search(r"Could not load '([^']+)'", text)
    if missing:
        options = re.search(r"Available options in '[^']*': (.*?)(?: Config search path| set_hydra|$)", text)
        choices = options.group(1).split() if options else []
        cure = f"choose one of {', '.join(choices)}" if choices else "check the name, or --info searchpath"
        return f"config:{missing.group(1)}: there is no such config - {cure}"
    if "Could not override" in first and "No match in the defaults list" in first:
        group = re.search(r"Could not override '([^']+)'", first)
        return f"config:{group.group(1) if group else where}: there is no such group - see --info defaults"
    if "Value '" in text or "could not be converted" in text or "Invalid value" in text:
        wrong = re.search(r"(Value '.*?' .*?(?:converted to \w+|is not a valid .*?))(?: full_key| reference|$)", text)
        return f"config:{where}: {wrong.group(1) if wrong else first[:160]} - give a value of that type"
    if type(error).__name__ == "OverrideParseException" or "parsing override" in first:
        word = re.search(r"parsing override '([^']+)'", first)
        shown = word.group(1) if word else first[:80]
        return f"command line:{shown}: not an override - write key=value, strings with = or , in quotes"
    return f"config:{where}: {first[:200]} - see --cfg job for every key"


def _near(where: str, key: str) -> str:
    """A known key that looks like this one."""
    import dataclasses

    from engine.schema import Config

    known: set[str] = set()

    def walk(cls: type[Any]) -> None:
        for each in dataclasses.fields(cls):
            known.add(each.name)
            inner: Any = each.default_factory
            if dataclasses.is_dataclass(inner):
                walk(cast(type[Any], inner))

    walk(Config)
    found = difflib.get_close_matches(key, sorted(known), 1)
    return f"did you mean {found[0]!r}?" if found else ""
