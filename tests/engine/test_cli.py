"""The command line: verbs, flags, what Hydra's habits do here, and that looking costs no heavy import."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import __version__, cli
from engine.errors import ConfigError
from tests.engine.world import Answer, World, write

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
HEAVY = ("torch", "lightning", "ray", "wandb", "hydra", "omegaconf", "sqlalchemy", "pyarrow", "numba", "numpy", "rich")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Hydra's --info sets up logging for good, to a stream that pytest closes."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running `code`."""
    program = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_help_names_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 0
    said = capsys.readouterr().out
    for verb, what in cli.VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(what)}$", said, re.MULTILINE)


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["loop", "--version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 0
    assert capsys.readouterr().out == f"tidegate {__version__}\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["help", "gate"], ["drift", "--help"], ["completion"], ["gc", "--cfg", "job", "-p", "loop"]]
)
def test_a_reader_that_went_away_ends_a_command_without_a_word(words: list[str]) -> None:
    """As `tidegate --help | head -1` does; the last is said by Hydra alone, which leaves it to the process's end."""
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "engine.cli", *words]
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_loads_nothing_heavy() -> None:
    assert not modules_after("from engine import cli; cli.run(['--help'])") & set(HEAVY)


def test_verbs_that_only_look_never_load_torch(ended: tuple[World, Answer]) -> None:
    """They must answer while a GPU is busy, and at once."""
    lines = [f"cli.run({ended[0].words(verb)})" for verb in cli.VERBS if verb not in (*cli.TRAINING, "report")]
    loaded = modules_after("\n".join(["from engine import cli", *lines]))
    assert "hydra" in loaded
    assert not loaded & {"torch", "lightning", "ray", "wandb"}


def test_the_verbs_over_the_ledger_load_no_arrays() -> None:
    """A rollback is over within a second, the start of Python included: a half of that is imports."""
    assert not modules_after("import engine.verbs.archive") & {"numpy", "numba", "kernels", "pyarrow", "torch"}


def test_verbs_that_train_load_torch_only_when_ray_has_been_asked_for() -> None:
    """Lightning takes four seconds to import, and Ray and its workers can come up meanwhile."""
    assert not modules_after("import engine.verbs.running") & {"torch", "lightning", "ray"}


def test_a_verb_runs_with_the_collector_on_and_what_started_up_put_aside() -> None:
    """In a process of its own: frozen objects stay so."""
    program = """
import gc
import engine.verbs.drift
from engine import cli
before = gc.get_freeze_count()
engine.verbs.drift.drift = lambda *_, **__: (0, {"on": gc.isenabled(), "put": before == 0 < gc.get_freeze_count()})
try:
    cli.main(["drift", "--json"])
finally:
    print(gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-2]) == {"on": True, "put": True}
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("verb", ["loop", "history"])
def test_help_of_a_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"tidegate {verb} [key=value ...]: {cli.VERBS[verb]}\n")
    assert f"experiment: {', '.join(EXPERIMENTS)}\n" in said
    assert "--cfg job" in said
    assert "hydra.cc" not in said


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment: str) -> None:
    from engine.config.schema import Composer, compose_config
    from engine.verbs.running import check

    words = [f"experiment={experiment}", "trust=[experiments.digits]"]
    config = compose_config(words)
    assert config.loop.name == experiment
    check(config, Composer(words), ("experiments.digits",))


@pytest.mark.parametrize(
    ("group", "option"),
    [
        (path.parent.name, path.stem)
        for path in sorted(CONF.glob("*/*.yaml"))
        if path.parent.name != "experiment" and path.name != "parquet.yaml"  # all of parquet.yaml is to be filled in
    ],
)
def test_every_option_of_a_group_composes(group: str, option: str) -> None:
    from engine.config.schema import compose_config

    own = ["model._target_=engine.train.model.TabularModel"] if option == "custom" else []  # to be filled in
    compose_config(["experiment=flights", f"{group}={option}", *own])


def test_an_experiment_holds_differences_only() -> None:
    """What an experiment says, the groups do not say already."""
    from engine.config.schema import compose_config

    for experiment in EXPERIMENTS:
        text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
        assert len(text.splitlines()) < 20
        assert compose_config([f"experiment={experiment}"]).plain() != compose_config(["data=flights"]).plain()


# ---- habits of Hydra -----------------------------------------------------------------------------------------------


def test_cfg_shows_the_config_and_runs_nothing(fresh: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert fresh.run("loop", "--cfg", "job", "train.lr=0.5") == 0
    said = capsys.readouterr()
    assert "  lr: 0.5\n" in said.out
    assert f"out: {fresh.out}\n" in said.out
    assert said.err == ""
    assert not fresh.out.exists()


def test_cfg_of_one_group(fresh: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert fresh.run("loop", "--cfg=job", "-p", "promote", "--resolve") == 0
    assert capsys.readouterr().out.startswith("# @package promote\nledger: null\n")


@pytest.mark.parametrize("words", [["--info", "searchpath"], ["--info=searchpath"], ["-i", "searchpath"]])
def test_info(fresh: World, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert fresh.run("loop", *words) == 0
    assert f"file://{fresh.folder}/conf" in capsys.readouterr().out.replace(" ", "")


def test_a_folder_of_ones_own_adds_options_and_experiments(
    fresh: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        tmp_path / "my conf" / "gate" / "strict.yaml", "rules: {floor: {kind: floor, metric: log_loss, threshold: 9}}\n"
    )
    words = ["loop", "--config-dir", str(tmp_path / "my conf"), "data=flights", "gate=strict"]
    assert cli.run([*words, "--cfg", "job", "-p", "gate.rules.floor"]) == 0
    assert "threshold: 9.0" in capsys.readouterr().out
    mine = "defaults: [config, {override data: flights}, _self_]\ntrain: {lr: 0.25}\n"
    write(tmp_path / "my conf" / "mine.yaml", mine)
    assert cli.run([*words[:3], "--config-name", "mine", "--cfg", "job", "-p", "train"]) == 0
    assert "lr: 0.25" in capsys.readouterr().out


def test_a_new_rule_on_the_command_line(fresh: World, capsys: pytest.CaptureFixture[str]) -> None:
    rule = "+gate.rules={extra: {kind: floor, metric: log_loss, threshold: 0.5}}"
    assert fresh.run("loop", rule, "--cfg", "job", "-p", "gate.rules") == 0
    said = capsys.readouterr().out
    assert "extra:\n" in said
    assert "calibrated:\n" in said


def test_completion_of_bash(fresh: World) -> None:
    """The script that `tidegate completion` prints, run by a real bash."""
    script = """
    compopt() { :; }
    tidegate() { "$PYTHON" -m engine.cli "$@"; }
    source <(tidegate completion)
    ask() {
      COMP_LINE="$1"; COMP_POINT=${#1}; read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tidegate
      echo "${COMPREPLY[*]}"
    }
    ask "tidegate ro"
    ask "tidegate loop experiment=flights_"
    ask "tidegate loop experiment=flights train.max_e"
    ask "tidegate hel"
    ask "tidegate help valid"
    ask "tidegate help decide.point_"
    """
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    of_verbs = ["rollback", "experiment=flights_delay", "train.max_epochs="]
    of_help = ["help", "validate", "decide.point_value"]
    assert done.stdout.splitlines() == of_verbs + of_help, done.stderr


# ---- words ---------------------------------------------------------------------------------------------------------


def test_split_keeps_values_with_their_flags() -> None:
    words = ["a=1", "--config-dir", "x=y", "b=2", "--cfg=job", "-p", "train", "--info", "c=3"]
    assert cli.split(words) == (["--config-dir", "x=y", "--cfg", "job", "-p", "train", "--info"], ["a=1", "b=2", "c=3"])


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        (["live", "--at", "2026-03-01T12:00"], ["at='2026-03-01T12:00'"]),
        (["live", "--at=2026-03-01"], ["at='2026-03-01'"]),
        (["live", "at=2026-03-01T12:00+01:00"], ["at='2026-03-01T12:00+01:00'"]),
        (["live", "2026-03-01"], ["at='2026-03-01'"]),
        (["why", "12e4"], ["of='12e4'"]),
        (["why", "of=2026-05", "out=a"], ["of='2026-05'", "out=a"]),
        (["card", "0012"], ["artifact='0012'"]),
        (["card", "artifact=null", "artifact='12'"], ["artifact=null", "artifact='12'"]),
        (["why", "it's"], [r"of='it\'s'"]),
        (["rollback", "--rehearse", "actor=7", "reason=x"], ["rehearse=true", "actor='7'", "reason=x"]),
        (["gc", "--older-than", "7d"], ["older_than=7d"]),
        (["history", "verdict"], ["verdict"]),
    ],
)
def test_flags_and_words_of_our_own(words: list[str], overrides: list[str]) -> None:
    assert [cli.spelled(words[0], word) for word in cli.split(words[1:])[1]] == overrides


@pytest.mark.parametrize("flag", ["--at", "--older-than"])
def test_a_flag_of_our_own_needs_its_value(flag: str) -> None:
    with pytest.raises(ConfigError, match=f"command line:{flag}: its value is missing - write it behind the flag"):
        cli.split([flag])


def test_sweep_expressions_are_a_space() -> None:
    words = ["train.lr=interval(1e-4, 1e-1)", "model=tabular", "+model.width=1,2", "data.slices=[a,b]", "out='a,b'"]
    space, rest = cli.take_space(words)
    assert space == {"train.lr": "interval(1e-4, 1e-1)", "+model.width": "1,2"}
    assert rest == ["model=tabular", "data.slices=[a,b]", "out='a,b'"]
    with pytest.raises(ConfigError, match="this is no override"):
        cli.take_space(["train.lr=interval(1"])


@pytest.mark.parametrize(
    ("words", "space"),
    [
        ([], {"train.lr": "choice(0.02, 0.03)"}),
        (["model.width=choice(4, 8)"], {"model.width": "choice(4, 8)"}),
        (["train.lr=0.1"], {}),
    ],
)
def test_the_command_line_decides_what_is_searched(
    fresh: World, monkeypatch: pytest.MonkeyPatch, words: list[str], space: dict[str, str]
) -> None:
    from engine.verbs import running

    seen = {}

    def loop(config: object, composer: object, quiet: bool = False) -> tuple[int, dict[str, object]]:
        seen["space"] = config.search.space  # type: ignore[attr-defined]
        return 0, {}

    monkeypatch.setattr(running, "loop", loop)
    assert fresh.run("loop", *words) == 0
    assert seen["space"] == space


# ---- how a command ends --------------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_a_traceback_and_1(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.verbs import archive

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(archive, "history", fail)
    answer = fresh.ask("history")
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert answer.err.endswith("fault of tidegate: ZeroDivisionError - please report the lines above\n")
    assert answer.out == ""


def test_the_environment_and_argv_are_as_before(fresh: World) -> None:
    argv, environment = list(sys.argv), dict(os.environ)
    fresh.ask("history")
    assert (sys.argv, dict(os.environ)) == (argv, environment)


def test_a_reader_that_goes_away_is_no_fault(ended: tuple[World, Answer]) -> None:
    words = " ".join(ended[0].words("history", "--json"))
    command = f"{sys.executable} -m engine.cli {words} 2>/dev/null | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, '{"loop": "')
    assert done.stderr == ""


def test_json_is_one_object(ended: tuple[World, Answer]) -> None:
    out = ended[1].out
    assert json.loads(out) == ended[1].value
    assert out.endswith("}\n")
