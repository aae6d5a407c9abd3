"""The command line: `tidegate VERB [overrides]`. Splits arguments, lets Hydra compose, calls the verb, maps errors to
exits.

Nothing heavy is imported before a verb needs it: `tidegate --help` answers without Hydra, torch or Ray.

Exit codes: 0 done; 1 a fault of ours; 2 bad input or config; 3 ran well, and the verdict is negative or undecided;
130 interrupted, and the same command goes on.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from engine import __version__
from engine.config.habits import HELP, INSTEAD, meant, placed

if TYPE_CHECKING:
    from engine.config.schema import Composer

VERBS = {
    "loop": "the whole sentence: every window validated, monitored, decided on; models trained, gated, promoted",
    "watch": "the loop that goes on: each window as it lands, late ones and doubles told apart (watch.every=60s)",
    "train": "one trial with the config as it is, on the newest labelled windows",
    "sweep": "many trials: keys given as choice(...), range(...) or interval(...) are searched",
    "evaluate": "a stored model on a labelled window, with intervals, by slice",
    "gate": "a challenger judged again, or two named models (artifact=, against=, window=); nothing is moved",
    "validate": "is a window fit for use (--infer a schema that git keeps, --diff old.yaml new.yaml)",
    "drift": "what changed between two windows, or between any two files (reference=a.parquet live=b.parquet)",
    "backtest": "what each policy would have cost over past windows, retrains really made (backtest.policies=[...])",
    "history": "the ledger: every decision, verdict and stage change (window=, kind=, limit=)",
    "live": "what was in production at a moment, and what brought it there (--at 2026-03-01T12:00)",
    "why": "what a window, decision or verdict rests on, made again from its recorded evidence (why 2026-05)",
    "verify": "is the record whole: hash chain, heads, evidence, every byte of every model",
    "card": "the model card: data, metrics with intervals, gates, history, limits (card <id>)",
    "promote": "move a model to a stage by hand (artifact=, stage=, reason=, actor=)",
    "rollback": "production goes back to the champion before (reason=, actor=, --rehearse)",
    "gc": "remove models that no ledger mentions (--rehearse, --older-than 7d)",
    "alerts": "what is open, what was done and did it help (ack=<id> or undo=<id>, by=, note=; test=<channel>)",
    "metrics": "how the loop and its pipeline run, as text that Prometheus reads (OpenMetrics)",
    "report": "the HTML report of a loop, from its ledger",
    "resync": "tell W&B all again from our own records, after an outage or a kill",
    "doctor": "is this machine fit: versions, GPU, storage, ledger, tracking",
    "submit": "any verb on a cluster: submit sweep ... cluster=ray|kuberay|slurm (--dry-run, --status ID, --stop ID)",
}
# These import torch; the others must not.
TRAINING = ("loop", "watch", "train", "sweep", "evaluate", "gate", "backtest")
SUBMIT = "submit"  # takes what the verb that it hands on takes
HOMES = {  # files of several verbs; the other verbs have files of their own names
    "running": ("loop", "train", "sweep", "evaluate"),
    "archive": ("history", "live", "why", "verify", "card", "promote", "rollback", "gc"),  # over the ledger
    "desk": ("validate", "report", "doctor"),
}
STREAMING = ("watch",)  # with --json these say an object for each thing that happens, before the answer
SEARCHING = ("loop", "sweep", "watch")  # `train.lr=interval(...)` names a space here, not a value
EXAMPLES = """\
examples:
  tidegate loop experiment=flights                          a year of flights, month by month
  tidegate loop experiment=flights loop.until=2013-06 track=none
  tidegate watch experiment=flights watch.grace=1d          and on, for each window that lands
  tidegate sweep experiment=flights train.lr='tag(log, interval(1e-4, 1e-1))' model.width='choice(64, 128)'
  tidegate drift reference=a.parquet live=b.parquet         any two files, no project around them
  tidegate history experiment=flights --json | jq .
  tidegate why 2013-05 experiment=flights                   each decision of a window, replayed bit for bit
  tidegate live --at 2026-03-01T12:00 experiment=flights    a time without a zone is UTC
  tidegate submit sweep experiment=flights out=/mnt/flights cluster=ray cluster.address=http://127.0.0.1:8265
  tidegate submit loop experiment=flights cluster=slurm --dry-run | sbatch

every verb takes: key=value overrides, --json, --cfg job (show the config), --config-dir DIR (your own conf/), --help
what keys mean:   tidegate help decide.point_value, tidegate help decide, or of a verb: tidegate help validate
completion in bash: eval "$(tidegate completion)\""""
# Hydra's flags that we pass on; the next word is the value of these ...
WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--package", "-p", "--cfg", "-c")
ALONE = ("--help", "-h", "--hydra-help", "--resolve", "--run", "-r", "--shell-completion", "-sc", "--info", "-i")
# ... where it must be one of these; the value of --info may be left out.
CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
# Flags of our own, and the key or override that each one is.
KEYS = {"--at": "at", "--diff": "diff", "--older-than": "older_than", "--status": "status", "--stop": "stop"}
SWITCHES = {
    "--rehearse": "rehearse=true",
    "--dry-run": "rehearse=true",
    "--infer": "infer=true",
    "--overwrite": "overwrite=true",
}
NAMED = {
    "why": "of",
    "card": "artifact",
    "live": "at",
    "gate": "artifact",
    "validate": "against",
    SUBMIT: "verb",
}  # the key that a bare word sets: `tidegate why 2026-05`, `validate --diff old.yaml new.yaml`
TEXTS = (
    "of",
    "at",
    "artifact",
    "window",
    "against",
    "actor",
    "verb",
    "status",
    "stop",
    "diff",
    "reference",
    "live",
    "html",
    "prediction",
    "label",
    *("ack", "undo", "test", "by", "note"),
)  # 12e4 is the beginning of an id, and no number; a path may hold a space or a comma
REFUSED = {
    "--multirun": "search over keys with `tidegate sweep key=choice(1,2)`, or start one command a value, each with its "
    "own loop.name=",
    "--config-path": "add a folder of your own with --config-dir",
    "--experimental-rerun": "give the same command again",
}
MULTIRUN = ("-m", "--multirun")
SHORT = {"-m": "--multirun", "-cp": "--config-path", "-c": "--cfg", "-i": "--info"}
COMPLETION = """\
# eval "$(tidegate completion)" in ~/.bashrc: completes verbs, groups, options and keys
_tidegate() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}"
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
  elif [[ ${{COMP_WORDS[1]}} == help ]]; then
    COMPREPLY=($(compgen -W "$(tidegate help --shell-completion "$word" 2>/dev/null)" -- "$word"))
  else
    local line="${{COMP_LINE:0:COMP_POINT}}" verb="${{COMP_WORDS[1]}}"
    COMPREPLY=($(COMP_LINE="tidegate ${{line#*" $verb"}}" tidegate "$verb" --shell-completion query=bash 2>/dev/null))
    [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
  fi
}}
COMP_WORDBREAKS="${{COMP_WORDBREAKS//=/}}"
complete -F _tidegate tidegate"""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; ends the process with an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's word to stop is taken like Ctrl-C
    gc.disable()  # while modules are imported and the config is composed: nearly all of it stays, see `_dispatch`
    try:
        code = run(list(sys.argv[1:] if argv is None else argv))
    finally:
        gc.enable()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """One command; its exit code."""
    try:
        code = _run(argv)
        _say("", end="")  # what Hydra has printed, too: none of it waits for the end of the process
        return code
    except KeyboardInterrupt:
        print("interrupted - the same command goes on where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader went away; Python would complain again at exit
        return 0
    except Exception as error:
        return _explain(error)


def _run(argv: list[str]) -> int:
    text = _about(argv)
    if text:
        _say(text)
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in (*VERBS, "help"):
        return _refuse(f"command line:{verb[:80]}: no such verb - {_nearest(INSTEAD.get(verb, verb), list(VERBS))}")
    if verb == "help":
        return _manual(rest)
    ours = ("--json", *MULTIRUN) if verb == "sweep" else ("--json",)  # a sweep is what -m asks for
    flags, overrides = split([word for word in rest if word not in ours])
    overrides = [spelled(verb, word) for word in placed(verb, overrides)]
    return _dispatch(verb, flags, overrides, as_json="--json" in rest)


def _about(argv: Sequence[str]) -> str:
    """What is said without a config; empty where a verb is asked for."""
    if not argv or argv[0] in ("-h", "--help") or list(argv) == ["help"]:
        return usage()
    if argv[0] == "-V" or "--version" in argv:
        return f"tidegate {__version__}"
    return COMPLETION.format(verbs=" ".join((*VERBS, "help"))) if argv[0] == "completion" else ""


def _manual(asked: Sequence[str]) -> int:
    """`tidegate help WORD`: a verb with its keys, the keys of a group, or one key."""
    from engine.config.keys import manual, subjects

    if "--shell-completion" in asked:
        deep = "." in asked[-1]  # `valid` has one completion, `validate.` has many
        _say(" ".join(name for name in dict.fromkeys((*VERBS, *subjects())) if ("." in name) == deep))
        return 0
    for word in asked:
        if word in VERBS:
            _say(_headed(word))
        _say(manual(word, VERBS))
    return 0


def _headed(verb: str) -> str:
    """What help on a verb begins with."""
    return f"tidegate {verb} [key=value ...]: {VERBS[verb]}\n" + (f"\n{HELP[verb]}" if verb in HELP else "")


def usage() -> str:
    """What `tidegate --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {what}" for name, what in VERBS.items())
    title = f"tidegate {__version__}: continuous training that opens only on evidence"
    return f"{title}\n\nusage: tidegate VERB [key=value ...]\n\n{verbs}\n\n{EXAMPLES}"


def _nearest(word: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"


def _refuse(line: str) -> int:
    from engine.errors import one_line
    from engine.system.redact import redact_text

    print(one_line(redact_text(line), 600), file=sys.stderr)
    return 2


def _explain(error: Exception) -> int:
    """One line for what a person can mend; a traceback only for a fault of ours."""
    from engine.config.explain import one_line
    from engine.errors import TidegateError
    from engine.system.redact import redact_text

    if isinstance(error, TidegateError):
        print(redact_text(str(error)), file=sys.stderr)
        return error.exit_code
    line = one_line(error)
    if line is not None:
        return _refuse(line)
    import traceback

    print(redact_text(traceback.format_exc()), end="", file=sys.stderr)
    print(f"fault of tidegate: {type(error).__name__} - please report the lines above", file=sys.stderr)
    return 1


def _dispatch(verb: str, flags: list[str], overrides: list[str], *, as_json: bool) -> int:
    space, overrides = take_space(overrides)
    searching = verb in SEARCHING or _submitted(verb, overrides) in SEARCHING
    if space and not searching:
        from engine.errors import ConfigError

        cure = "a list is written [a,b]; to try several values, use `tidegate sweep`"
        raise ConfigError(f"command line:{next(iter(space))}", f"{verb} takes one value for a key", cure)
    if any(flag in ("--help", "-h") for flag in flags):
        _say(_headed(verb))
        from engine.config.keys import of_verb

        if own := of_verb(verb):
            _say("keys of this verb:\n\n" + "\n".join(key.text("  ") for key in own) + "\n")
    asked = _asked_for_config(flags) if verb in SEARCHING else None
    found = _compose(verb, asked.others if asked else flags, overrides)
    if found is None:  # Hydra has shown what was asked for
        return 0
    composed, composer = found
    from importlib import import_module

    from engine.config import shown
    from engine.config.schema import to_config

    if searching:
        composed = shown.put_space(composed, composer, space)
    if asked:
        shape = shown.as_json if as_json else shown.as_yaml
        _say(shape(composed, composer, asked.package, follow=asked.follow))
        return 0
    config = to_config(composed)
    composer.searched = space
    home = next((name for name, verbs in HOMES.items() if verb in verbs), verb)
    module = import_module(f"engine.verbs.{home}")
    call: Callable[..., tuple[int, dict[str, Any]]] = getattr(module, verb)
    if not gc.isenabled():
        gc.freeze()  # to look through all this for garbage, again and again, takes a fifth of a short command
        gc.enable()
    stream = {"say": lambda event: _say(json.dumps(event, allow_nan=False))} if verb in STREAMING and as_json else {}
    code, answer = call(config, composer, quiet=False, **stream)
    if as_json:
        _say(json.dumps(answer, allow_nan=False))
    elif "document" in answer:  # made to be piped on
        _say(answer["document"].rstrip("\n"))
    return code


def _submitted(verb: str, overrides: Sequence[str]) -> str:
    """The verb that is submitted; empty where none is. ConfigError where it cannot be."""
    from engine.errors import ConfigError

    key = f"{NAMED[SUBMIT]}="
    found = [word.removeprefix(key).strip("'\"") for word in overrides if word.startswith(key)]
    if verb != SUBMIT or not found:
        return ""
    handed = [name for name in VERBS if name not in (SUBMIT, "doctor")]
    if len(found) > 1 or found[0] not in handed:
        what = f"{' '.join(found)!r} cannot be submitted"
        raise ConfigError(f"command line:{SUBMIT}", what, _nearest(found[-1], handed))
    return found[0]


class Asked(NamedTuple):
    """What `--cfg job` asks for."""

    others: list[str]  # the other flags
    package: str | None
    follow: bool  # references


def _asked_for_config(flags: Sequence[str]) -> Asked | None:
    """What is to be shown; None where the flags do not ask for `--cfg job`."""
    others: list[str] = []
    package, job, follow = None, False, False
    rest = iter(flags)
    for flag in rest:
        if flag in ("--cfg", "-c"):
            job = next(rest) == "job"
        elif flag in ("--package", "-p"):
            package = next(rest)
        elif flag == "--resolve":
            follow = True
        else:
            others.append(flag)
    return Asked(others, package, follow) if job else None


def _say(answer: str, end: str = "\n") -> None:
    """The answer on stdout; ConfigError where it takes none: a caller that got nothing must not read "done"."""
    from engine.errors import ConfigError

    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        print(answer, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try again, and complain, at exit
        reason = f"cannot be written: {error.strerror or error}"
        raise ConfigError("stdout", reason, "send it to a file or a pipe that takes it") from error


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(flags with their values, overrides); ConfigError where a flag is unknown, not supported or lacks its value."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word]))
    for word in rest:
        if flags and flags[-1] in ("--info", "-i") and word in CHOICES["--info"]:
            flags.append(word)
        elif not word.startswith("-"):
            overrides.append(word)
        elif word in SWITCHES:
            overrides.append(SWITCHES[word])
        elif word in KEYS:
            overrides.append(f"{KEYS[word]}={_value(word, next(rest, None))}")
        else:
            _check_flag(word)
            flags.append(word)
            if word in WITH_VALUE:
                flags.append(_value(word, next(rest, None)))
    return flags, overrides


def _check_flag(name: str) -> None:
    from engine.errors import ConfigError

    name = SHORT.get(name, name)
    if name in REFUSED:
        raise ConfigError(f"command line:{name}", "this flag of Hydra is not supported", REFUSED[name])
    known = (*WITH_VALUE, *ALONE)
    if name not in known:
        cure = _nearest(name, ["--json", *KEYS, *SWITCHES, *(flag for flag in known if flag.startswith("--"))])
        raise ConfigError(f"command line:{name}", "there is no such flag", cure)


def spelled(verb: str, word: str) -> str:
    """An override as Hydra reads it: a bare word gets the key of its verb, and what must be text is quoted."""
    key, equals, value = word.partition("=")
    if not equals and verb in NAMED and not word.startswith("~"):
        key, value = NAMED[verb], word
    if key not in TEXTS or not value or value == "null" or value[0] in "'\"":
        return word
    return f"{key}='" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _value(flag: str, value: str | None) -> str:
    from engine.errors import ConfigError

    if value is None:
        raise ConfigError(f"command line:{flag}", "its value is missing", "write it behind the flag")
    choices = CHOICES.get(SHORT.get(flag, flag), (value,))
    if value not in choices:
        raise ConfigError(f"command line:{flag}", f"{value!r} is unknown", f"choose one of {', '.join(choices)}")
    return value


def take_space(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """(key -> sweep expression, the other overrides): `train.lr=interval(...)` names a space, not a value.

    ConfigError where a word is no override.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from engine.errors import ConfigError

    space, rest = {}, []
    parser = OverridesParser.create()
    for word in overrides:
        try:
            override = parser.parse_override(word)
        except (HydraException, ValueError, RecursionError) as error:
            cure = "write key=value; what has = , ( or a space in it goes in quotes of its own: key=\"'a, b'\""
            raise ConfigError(f"command line:{word}", "this is no override", cure) from error
        if not override.key_or_group:
            raise ConfigError(f"command line:{word}", "the key is missing", "write key=value")
        if override.key_or_group.split(".")[0].split("/")[0] == "hydra":
            cure = meant(override.key_or_group, word.partition("=")[2])
            raise ConfigError(f"command line:{word}", "Hydra's own settings are fixed", cure)
        if override.is_sweep_override() and override.is_delete():
            raise ConfigError(f"command line:{word}", "a key that is removed has no values", "leave the values out")
        if override.is_sweep_override():
            space[override.get_key_element()] = word.partition("=")[2]
        else:
            rest.append(word)
    return space, rest


def _compose(verb: str, flags: list[str], overrides: list[str]) -> tuple[Any, Composer] | None:
    """Let Hydra read flags and overrides: the composed config, and how to compose it again. None where it only showed
    something.
    """
    import hydra

    from engine.config.composition import Shown, main_of_hydra
    from engine.config.schema import Composer, has_foreign_space, register
    from engine.errors import ConfigError

    register()
    found: list[tuple[Any, bool, Composer]] = []
    with suppress(Shown), main_of_hydra([f"tidegate {verb}", *overrides, *flags]):
        hydra.main(version_base="1.3", config_path="pkg://engine.conf", config_name="config")(
            lambda config: found.append((config, has_foreign_space(config), Composer.of(config)))
        )()
    if not found:
        return None
    config, foreign, composer = found[0]
    if foreign:
        raise ConfigError("hydra.sweeper.params", "this space is not read", "move its keys to search.space")
    return config, composer


if __name__ == "__main__":
    main()
