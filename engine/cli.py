"""The command line: `tidegate VERB [overrides]`. Splits arguments, lets Hydra compose, calls the verb, maps errors to
exits.

Nothing heavy is imported before a verb needs it: `tidegate --help` answers without Hydra, torch or Ray.

Exit codes: 0 done; 1 a fault of ours; 2 bad input or config; 3 ran well, and the verdict is negative or undecided;
130 interrupted, and the same command goes on.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from engine import __version__

VERBS = {
    "loop": "the whole sentence: every window validated, monitored, decided on; models trained, gated, promoted",
    "train": "one trial with the config as it is, on the newest labelled windows",
    "sweep": "many trials: keys given as choice(...), range(...) or interval(...) are searched",
    "evaluate": "a stored model on a labelled window, with intervals, by slice",
    "validate": "is a window fit for use",
    "drift": "what changed between two windows, or between any two files (reference=a.parquet live=b.parquet)",
    "history": "the ledger: every decision, verdict and stage change",
    "promote": "move a model to a stage by hand (artifact=, stage=, reason=, actor=)",
    "rollback": "production goes back to the champion before (reason=, actor=, rehearse=true)",
    "report": "the HTML report of a loop, from its ledger",
    "doctor": "is this machine fit: versions, GPU, storage, ledger, tracking",
}
TRAINING = ("loop", "train", "sweep", "evaluate")  # these import torch; the others must not
EXAMPLES = """\
examples:
  tidegate loop experiment=flights                          a year of flights, month by month
  tidegate loop experiment=flights loop.until=2013-06 track=none
  tidegate sweep experiment=flights train.lr='tag(log, interval(1e-4, 1e-1))' model.width='choice(64, 128)'
  tidegate drift reference=a.parquet live=b.parquet         any two files, no project around them
  tidegate history experiment=flights --json | jq .

every verb takes: key=value overrides, --json, --cfg job (show the config), --config-dir DIR (your own conf/), --help"""
# Of Hydra's flags: the next word is their value.
_FLAGS = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p", "--cfg", "-c")
WITH_VALUE = (*_FLAGS, "--info", "-i", "--shell-completion", "-sc", "--experimental-rerun")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; ends the process with an exit code."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """One command; its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"tidegate {__version__}")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        return _refuse(f"command line:{verb}: no such verb - {_nearest(verb)}")
    as_json = "--json" in rest
    rest = [word for word in rest if word != "--json"]
    try:
        return _dispatch(verb, rest, as_json)
    except KeyboardInterrupt:
        print("interrupted - the same command goes on where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away; Python would complain again at exit
        return 0
    except Exception as error:
        return _explain(error)


def usage() -> str:
    """What `tidegate --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {what}" for name, what in VERBS.items())
    title = f"tidegate {__version__}: continuous training that opens only on evidence"
    return f"{title}\n\nusage: tidegate VERB [key=value ...]\n\n{verbs}\n\n{EXAMPLES}"


def _nearest(verb: str) -> str:
    import difflib

    near = difflib.get_close_matches(verb, VERBS, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(VERBS)}"


def _refuse(line: str) -> int:
    print(line, file=sys.stderr)
    return 2


def _explain(error: Exception) -> int:
    """One line for what a person can mend; a traceback only for a fault of ours."""
    from engine.errors import TidegateError
    from engine.explain import one_line

    if isinstance(error, TidegateError):
        print(str(error), file=sys.stderr)
        return error.exit_code
    line = one_line(error)
    if line is not None:
        return _refuse(line)
    import traceback

    traceback.print_exc()
    print(f"fault of tidegate: {type(error).__name__} - please report the lines above", file=sys.stderr)
    return 1


def _dispatch(verb: str, rest: list[str], as_json: bool) -> int:
    flags, overrides = split(rest)
    space, overrides = take_space(overrides) if verb in ("sweep", "loop") else ({}, overrides)
    if space:
        from engine.train.search_space import quote

        overrides = [
            *overrides,
            "search.space={" + ",".join(f"{k}:{quote(v)}" for k, v in space.items()) + "}",
        ]
    composed = _compose(verb, flags, overrides)
    code = 0
    for config, chosen in composed:
        code = max(code, _call(verb, config, chosen, flags, as_json))
    return code


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(Hydra's flags with their values, overrides)."""
    flags: list[str] = []
    overrides: list[str] = []
    waiting = False
    for word in words:
        if waiting or word.startswith("-"):
            flags.append(word)
            waiting = not waiting and word in WITH_VALUE
        else:
            overrides.append(word)
    return flags, overrides


def take_space(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """(key -> sweep expression, the other overrides): `train.lr=interval(...)` names a space, not a value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    space, rest = {}, []
    for word in overrides:
        try:
            swept = OverridesParser.create().parse_override(word).is_sweep_override()
        except HydraException:
            swept = False  # Hydra itself will say what is wrong with it
        if swept:
            key, _, expression = word.partition("=")
            space[key.lstrip("+")] = expression
        else:
            rest.append(word)
    return space, rest


def _compose(verb: str, flags: list[str], overrides: list[str]) -> list[tuple[Any, list[str]]]:
    """Let Hydra read flags and overrides; the composed configs (several with -m), none where it only showed
    something.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    from engine.schema import register

    register()
    found: list[tuple[Any, list[str]]] = []

    def keep(config: DictConfig) -> None:
        found.append((config, list(HydraConfig.get().overrides.task)))

    sys.argv = [f"tidegate {verb}", *flags, *overrides]
    told, os.environ["HYDRA_FULL_ERROR"] = (
        os.environ.get("HYDRA_FULL_ERROR"),
        "1",
    )  # errors come to us, not to its printer
    try:
        hydra.main(version_base="1.3", config_path="pkg://engine.conf", config_name="config")(keep)()
    finally:
        if told is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = told
    return found


def _call(verb: str, composed: Any, chosen: list[str], flags: list[str], as_json: bool) -> int:
    from importlib import import_module

    from engine.schema import Composer, to_config

    folders = [os.path.abspath(b) for a, b in itertools.pairwise(flags) if a in ("--config-dir", "-cd")]
    call: Callable[..., tuple[int, dict[str, Any]]] = getattr(
        import_module("engine.verbs" if verb in TRAINING else "engine.desk"), verb
    )
    code, answer = call(to_config(composed), Composer(chosen, folders), quiet=False)
    if as_json:
        print(json.dumps(answer, allow_nan=False))
    return code


if __name__ == "__main__":
    main()
