"""Which classes a config may name: an exact list of ours, and the packages a person said they trust.

Trust comes from the config (`trust=[my_package]`) or the environment (`TIDEGATE_TRUST=my_package`), never from inside
an artifact. A name is checked twice: as written, and as the object it resolves to, so that a trusted module cannot be
used as a corridor to `os.system`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from engine.errors import ConfigError
from engine.train.conf import BUILT_IN

OURS = ("engine.train.model.TabularModel", "engine.train.model.ResidualModel")
CURE = "use a class of ours, or name its package in trust=[...] if you trust its code"


def trusted_packages(configured: Iterable[str] = ()) -> tuple[str, ...]:
    """The packages of the config and of TIDEGATE_TRUST (comma-separated)."""
    named = os.environ.get("TIDEGATE_TRUST", "").split(",")
    return tuple(dict.fromkeys(name.strip() for name in (*configured, *named) if name.strip()))


def check_allowed(target: str, trusted: Iterable[str] = ()) -> None:
    """ConfigError where the name `target` is not on the list; nothing is imported."""
    if target not in OURS and not _inside(target.rpartition(".")[0], tuple(trusted)):
        raise ConfigError(f"model._target_:{target}", "this class is not on the list of trusted ones", CURE)


class _AnyArguments:
    """Stands for a class that has not been imported."""

    def __init__(self, **arguments: Any) -> None:
        """Takes whatever there is."""


def described(target: str, trusted: Iterable[str], foreign: set[str]) -> type[Any]:
    """Whose arguments stand for those of `target` before anything is imported: the config class of a network of ours.

    The name of any other class is added to `foreign`; what stands for it takes all arguments. ConfigError where the
    name is not on the list.
    """
    check_allowed(target, trusted)
    if target in BUILT_IN:
        return BUILT_IN[target]
    foreign.add(target)
    return _AnyArguments


def resolve(target: str, trusted: Iterable[str] = ()) -> type[Any]:
    """The class of a model that `target` ("package.module.Class") names: a Network of ours, or a LightningModule.

    Raises ConfigError where the name is not allowed, does not exist, cannot be imported, or is neither.
    Nothing is imported before the name is allowed.
    """
    where = f"model._target_:{target}"
    trusted = tuple(trusted)
    module_name, _, class_name = target.rpartition(".")
    check_allowed(target, trusted)
    found = getattr(_import(module_name, where), class_name, None)
    if found is None:
        raise ConfigError(where, f"{module_name} has no {class_name!r}", "check the spelling")
    if not (isinstance(found, type) and _is_model(found)):
        raise ConfigError(where, "this is not a LightningModule", "name a subclass of lightning.LightningModule")
    if target not in OURS and not _inside(found.__module__, trusted):
        raise ConfigError(where, f"the class really lives in {found.__module__}", CURE)
    return found


def _is_model(found: type[Any]) -> bool:
    from engine.train.model import Network

    if issubclass(found, Network):
        return True
    import lightning

    return issubclass(found, lightning.LightningModule)


def _inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _import(module: str, where: str) -> Any:
    """Import a module, also one that lies in the folder where the command was started; ConfigError if it fails."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(where, f"no module {error.name!r}", "install the package or run where it lies") from error
    except Exception as error:  # whatever a module of the user's does when it is imported
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(where, f"{module} cannot be imported ({said})", "mend the module") from error
