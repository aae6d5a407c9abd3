"""What people who know Hydra's sweepers write, and what they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import cli
from engine.config.binding import bind
from engine.config.habits import INSTEAD, MEANT, SWEEP, meant, placed
from engine.config.schema import Composer, compose_config
from tests.engine.world import World, write


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("hydra/sweeper=optuna", "leave it out: tidegate sweep is the sweeper, and search=... says how it searches"),
        ("hydra.sweeper.params.train.lr=1,2", "write train.lr=1,2 as it is, or put it under search.space"),
        ("+hydra.sweeper.params.model=a,b", "write model=a,b as it is, or put it under search.space"),
        ("hydra.sweeper.n_trials=20", "write search.num_samples=20"),
        ("hydra.sweeper.n_jobs=4", "write search.workers=4"),
        ("hydra.sweeper.direction=minimize", "write search.mode=max or search.mode=min"),
        ("hydra.sweeper.sampler.seed=3", "write search.seed=3"),
        ("hydra.sweeper.whatever=3", "leave it out: --cfg job -p search shows the keys of a sweep"),
        ("hydra/launcher=joblib", "leave it out, and write search.workers=4 for four trials at once"),
        ("hydra.sweep.dir=there", "write out=there: trials are recorded below it"),
        ("hydra.mode=MULTIRUN", "leave it out: tidegate sweep searches, the other verbs take one value for a key"),
        ("hydra.run.dir=x", "leave it out: out= says where a loop writes"),
    ],
)
def test_a_key_of_hydra_is_told_in_ours(word: str, cure: str, line: object) -> None:
    assert cli.run(["sweep", "experiment=flights", word]) == 2
    assert line() == f"command line:{word}: Hydra's own settings are fixed - {cure}"  # type: ignore[operator]


def test_the_keys_that_are_named_are_there() -> None:
    config = compose_config(["experiment=flights"])
    for cure in (*MEANT.values(), SWEEP):
        for key in re.findall(r"\bsearch\.(\w+)", cure):
            assert hasattr(config.search, key), key
    assert meant("hydrate", "") == meant("hydra", "")


def test_a_space_for_hydras_sweeper_is_not_passed_over(fresh: World, line: object) -> None:
    text = "defaults: [config, {override data: world}, _self_]\nhydra: {sweeper: {params: {train.lr: '1,2'}}}\n"
    write(fresh.out.parent / "conf" / "theirs.yaml", text)
    words = ["sweep", "--config-dir", str(fresh.out.parent / "conf"), "--config-name", "theirs"]
    write(fresh.out.parent / "conf" / "data" / "world.yaml", (fresh.folder / "conf/data/world.yaml").read_text())
    assert cli.run(words) == 2
    assert line() == (  # type: ignore[operator]
        "hydra.sweeper.params: this space is not read - move its keys to search.space"
    )


def test_a_plugin_in_a_config_is_told(tmp_path: Path, line: object) -> None:
    write(tmp_path / "theirs.yaml", "defaults: [config, {override hydra/sweeper: optuna}]\n")
    assert cli.run(["sweep", "--config-dir", str(tmp_path), "--config-name", "theirs"]) == 2
    assert line() == (  # type: ignore[operator]
        "config:hydra/sweeper/optuna: this plugin of Hydra is not used - "
        "leave it out: tidegate sweep is the sweeper, and search=... says how it searches"
    )


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_multirun_is_what_a_sweep_does(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["sweep", flag, "experiment=flights", "train.lr=0.1,0.2", "--cfg", "job", "-p", "search.space"]) == 0
    assert "train.lr: choice(0.1, 0.2)\n" in capsys.readouterr().out
    for verb in ("train", "loop", "drift"):
        assert cli.run([verb, flag, "experiment=flights", "train.lr=0.1,0.2"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("command line:--multirun: this flag of Hydra is not supported - search over keys with")
        assert "`tidegate sweep key=choice(1,2)`" in said


def test_the_help_of_a_sweep_is_true(capsys: pytest.CaptureFixture[str]) -> None:
    """Every expression that it shows can be searched, and every command composes."""
    assert cli.run(["sweep", "--help"]) == 0
    assert SWEEP in capsys.readouterr().out
    shown = re.findall(r"^  (\+?[\w.]+)=('?)(.+?)\2 {2,}", SWEEP, re.MULTILINE)
    assert len(shown) == 11
    composer = Composer(["experiment=digits"])  # a model whose config takes any key
    for key, quoted, expression in shown:
        assert quoted or not re.search(r"[ ()]", expression), "a shell would take it apart"
        texts = {key: expression} if key != "model.blocks" else {"model": "tabular,resnet", key: expression}
        if key.startswith("model.") and key not in ("model.blocks",):
            texts = {f"++{key}": expression}
        assert bind(texts, composer).domains
    commands = re.findall(r"^  tidegate (.+(?:\\\n.+)?)", SWEEP, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = re.findall(r"(?:[^\s'\\]|'[^']*')+", command.partition("   a grid")[0])
        assert cli.run([word.replace("'", "") for word in words] + ["--cfg", "job"]) == 0


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["old.csv", "new.csv", "html=a.html"], ["reference=old.csv", "live=new.csv", "html=a.html"]),
        (["live=new.csv", "old.csv"], ["live=new.csv", "reference=old.csv"]),
        (["html=a.html", "a b.csv", "1"], ["html=a.html", "reference=a b.csv", "live=1"]),
        (["a", "b", "c"], ["reference=a", "live=b", "c"]),
        (["~data.slices"], ["~data.slices"]),
    ],
)
def test_two_files_may_stand_behind_drift_as_they_are(words: list[str], meant: list[str]) -> None:
    assert placed("drift", words) == meant
    assert placed("history", words) == words


def test_drift_of_two_bare_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("old file.csv", "new,file.csv"):
        write(tmp_path / name, "a\n" + "\n".join(str(n % 97) for n in range(300)) + "\n")
    assert cli.run(["drift", f"{tmp_path}/old file.csv", f"{tmp_path}/new,file.csv", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [Path(answer[side]).name for side in ("reference", "live")] == ["old file.csv", "new,file.csv"]


def test_a_word_of_another_tool_names_the_verb_that_does_it(line: Callable[[], str]) -> None:
    assert set(INSTEAD.values()) <= set(cli.VERBS)
    assert not set(INSTEAD) & set(cli.VERBS)
    for word, verb in {**INSTEAD, "evalute": "evaluate", "lop": "loop"}.items():
        assert cli.run([word]) == 2
        assert line() == f"command line:{word}: no such verb - did you mean {verb!r}?"
