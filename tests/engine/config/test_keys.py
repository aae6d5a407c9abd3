"""The words on each key: all keys have some, and people find them by verb, group or name."""

from __future__ import annotations

import pytest

from engine import cli
from engine.config.keys import MODELS, documented, keys, manual, of_verb
from engine.config.schema import Config
from engine.errors import InputError
from engine.train.conf import TrainConf


def test_every_key_has_words_and_every_name_is_one_of_the_config() -> None:
    known = [*keys(Config), *(key for model in MODELS for key in keys(model, "model."))]
    assert [key.name for key in known if not key.words] == ["model"]  # a mapping, of any model
    assert len(known) > 200
    assert {"out", "decide.point_value", "gate.rules.<name>.margin", "model.blocks", "data.cluster"} <= {
        key.name for key in known
    }
    assert set(documented(TrainConf)) == {
        name.partition(".")[2] for name in (key.name for key in keys(Config)) if name.startswith("train.")
    }


def test_one_key_and_what_lies_below_one() -> None:
    assert (
        manual("loop.until")
        == "loop.until: str | None = null\n    Stop after this window; null: at the last one there is."
    )
    below = manual("gate.rules")
    assert below.startswith("gate.rules: dict[str, RuleConf]\n")
    assert "\ngate.rules.<name>.kind: str\n    floor, superiority" in below
    assert "gate.shadow" not in below
    assert "\nloop.wait: float | None = null\n" in manual("loop")
    assert max(map(len, manual("decide").splitlines())) <= 110


def test_a_verb_has_the_keys_whose_words_name_it() -> None:
    assert [key.name for key in of_verb("history")] == ["window", "kind", "limit"]
    assert [key.name for key in of_verb("rollback")] == ["reason", "actor", "rehearse"]
    assert of_verb("loop") == []
    both = manual("gate", ["gate"])  # the stage of the same name, too
    assert both.index("artifact: str | None") < both.index("gate.rules: dict")
    assert manual("doctor", ["doctor"]) == ""


def test_a_word_that_nothing_is_called_by() -> None:
    with pytest.raises(InputError) as error:
        manual("decide.point_valu")
    assert (
        str(error.value)
        == "help: there is no verb, group or key 'decide.point_valu' - did you mean 'decide.point_value'?"
    )


def test_help_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["help", "why"]) == 0
    assert capsys.readouterr().out.endswith("\n\n" + manual("why", cli.VERBS) + "\n")
    assert cli.run(["help", "sweep"]) == 0
    assert "A key takes one value, or a sweep of Hydra's override grammar" in capsys.readouterr().out
    assert cli.run(["help", "no_such_thing"]) == 2
    assert "there is no verb, group or key 'no_such_thing'" in capsys.readouterr().err
    assert cli.run(["history", "--help"]) == 0
    assert "keys of this verb:\n\n  window: str | None = null\n" in capsys.readouterr().out
