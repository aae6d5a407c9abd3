"""The verbs over the ledger: each on a loop that has ended, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from engine.errors import ConfigError
from engine.promote.card import card, render
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Stage
from engine.verbs import archive
from tests.engine.verbs.test_desk import files
from tests.engine.world import LAST, WINDOWS, Answer, World

Line = Callable[[], str]


def test_looking_writes_nothing(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    before = files(world.out)
    for words in (["history"], ["live"], ["why", LAST], ["verify"], ["card"], ["gc", "--rehearse"]):
        assert world.ask(*words).code == 0, words
    assert world.ask("rollback", "--rehearse", "actor=ada", "reason=test").code == 0
    assert files(world.out) == before


def test_looking_makes_no_folder(fresh: World) -> None:
    for verb in ("verify", "rollback"):
        answer = fresh.ask(verb, "actor=ada", "reason=test")
        assert answer == Answer(2, "", answer.err)
        assert ": there is no ledger - run `tidegate loop` first" in answer.err
    assert not fresh.out.exists()


# ---- history -------------------------------------------------------------------------------------------------------


def test_history(ended: tuple[World, Answer]) -> None:
    world, loop = ended
    answer = world.ask("history")
    assert answer.code == 0
    assert answer.value["verified"] == len(answer.value["rows"]) == len(world.rows())
    assert answer.value["heads"] == {"production": loop.value["champion"]}
    assert answer.err.count("verdict") >= 4
    assert [row["seq"] for row in answer.value["rows"]] == list(range(1, answer.value["verified"] + 1))


def test_history_shows_what_is_asked_for(ended: tuple[World, Answer], line: Line) -> None:
    world, _ = ended
    (verdict,) = world.ask("history", f"window={LAST}", "kind=verdict").value["rows"]
    assert (verdict["payload"]["gate"], verdict["window"]) == ("shadow", LAST)
    newest = world.ask("history", "limit=2")
    assert len(newest.value["rows"]) == 2
    assert newest.value["verified"] == len(world.rows())
    assert "older rows are not shown: limit=2" in newest.err
    assert not any(f" {kind} " in newest.err for kind in archive.QUIET_KINDS), "bookkeeping is shown on request"
    assert " inputs " in world.ask("history", "kind=inputs").err
    assert world.run("history", "kind=verdicts") == 2
    assert (
        line() == "kind: the ledger has no row of kind 'verdicts' - see `tidegate history` without it for what there is"
    )
    assert world.run("history", "limit=0") == 2
    assert line() == "limit: 0 is below 1 - choose 1 or more"


# ---- live ----------------------------------------------------------------------------------------------------------


def test_live_says_since_when_and_why(ended: tuple[World, Answer]) -> None:
    world, loop = ended
    answer = world.ask("live")
    assert (answer.code, answer.value["model"], answer.value["until"]) == (0, loop.value["champion"], None)
    steps = answer.value["path"]
    assert [step["target"] for step in steps] == ["candidate", "staging", "preproduction", "production"]
    assert [step["verdict"] and step["verdict"]["gate"] for step in steps] == [None, "offline", "cold", "shadow"]
    assert "shadow gate pass" in answer.err
    assert "and it still is, generation 2" in answer.err


def test_live_at_a_moment(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    first, second = [row for row in world.rows("stage") if row.payload["target"] == "production"]
    before = world.ask("live", "--at", second.at[:23])  # the millisecond it happened in
    assert before.code == 0
    assert (before.value["model"], before.value["since"], before.value["until"]) == (first.model, first.at, second.at)


def test_live_before_the_first_promotion(ended: tuple[World, Answer]) -> None:
    answer = ended[0].ask("live", "--at", "2020-01-01")
    assert (answer.code, answer.value["model"]) == (3, None)
    assert answer.err == "nothing was in production at 2020-01-01T00:00:00+00:00\n"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-01T12:00", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01 12:00:30", "2026-03-01T12:00:30+00:00"),
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T12:00Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00+02:00", "2026-03-01T10:00:00+00:00"),
    ],
)
def test_a_time_without_a_zone_is_utc(written: str, meant: str) -> None:
    assert archive.moment_of(written).isoformat() == meant


@pytest.mark.parametrize("written", ["yesterday", "2026-13-01", "12:00", "2026-03-01T25:00", "0001-01-01T00:00+14:00"])
def test_a_time_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(ConfigError) as refused:
        archive.moment_of(written)
    assert str(refused.value).startswith(f"at: {written!r} is no time - write 2026-03-01T12:00, or ")


def test_the_future_is_not_known(ended: tuple[World, Answer], line: Line) -> None:
    assert ended[0].run("live", "--at", "2999-01-01") == 2
    assert line().startswith("at: 2999-01-01 lies in the future - name a moment that has been")


# ---- why -----------------------------------------------------------------------------------------------------------


def test_why_a_window(ended: tuple[World, Answer]) -> None:
    answer = ended[0].ask("why", LAST)
    assert answer.code == 0
    because = answer.value["because"]
    assert [(b["kind"], b["replay"]) for b in because] == [
        ("verdict", "equal"),
        ("stage", None),
        ("stage", None),
        ("decision", "equal"),
    ]
    assert answer.err.count("replayed: equal, made again from its inputs, bit for bit") == 2
    assert "allowed by shadow gate pass" in answer.err
    assert because[0]["inputs"]["rules"][0]["name"] == "holds"


def test_why_a_promotion_names_decision_and_verdict(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    row = next(row for row in world.rows("stage") if row.payload["target"] == "staging")
    answer = world.ask("why", row.id[:16])
    assert [b["kind"] for b in answer.value["because"]] == ["decision", "verdict", "stage"]
    assert answer.value["because"][1]["id"] == row.payload["evidence"]


def test_why_of_what_does_not_follow_is_a_negative_answer(grown: World) -> None:
    with grown.ledger() as ledger:
        row = ledger.rows("decision")[0]
        inputs = ledger.find(f"{row.id}:inputs")
        assert inputs is not None
        payload = {**row.payload, "action": "keep"}
        ledger.append("decision", "forged", payload, inputs=inputs.payload, window="a")
        ledger.append("decision", "unproved", payload, window="b")
    answer = grown.ask("why", "forged")
    assert answer.code == 3
    assert 'replayed: different, action is "keep", and its inputs give "retune"' in answer.err
    assert grown.ask("why", "unproved").code == 3
    assert grown.ask("verify").code == 0, "the record is whole; what it says does not follow"


def test_why_needs_something(ended: tuple[World, Answer], line: Line) -> None:
    assert ended[0].run("why") == 2
    assert line() == "why: why what - name a window, or the beginning of an id: tidegate why 2026-05"
    assert ended[0].run("why", "12e4") == 2
    assert line().startswith("why: '12e4' is unknown - name a window"), "and is no number"


# ---- verify --------------------------------------------------------------------------------------------------------


def test_verify(ended: tuple[World, Answer]) -> None:
    answer = ended[0].ask("verify")
    assert answer.code == 0
    assert answer.value["rows"] == len(ended[0].rows())
    assert answer.value["artifacts"] == 3
    assert f"tip {answer.value['tip']}: note it elsewhere" in answer.err


def test_verify_names_every_fault(old: World) -> None:
    store = Store(old.out / "store")
    first, second, _ = store.list()
    store.path_of(first).unlink()
    damaged = store.manifest(second)["files"]["weights.safetensors"]["sha256"]
    blob = store.root / "blobs" / damaged
    blob.chmod(0o644)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    answer = old.ask("verify")
    assert answer.code == 3
    expected = ((first, "the file is missing"), (second, "the bytes are altered"))
    for (name, what), fault in zip(expected, answer.value["faults"], strict=True):
        assert name in fault
        assert what in fault
        assert name in answer.err
    assert "tip" not in answer.err


def test_verify_of_a_changed_row(old: World) -> None:
    with old.ledger() as ledger:
        engine = ledger._database.engine
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TRIGGER tidegate_row_UPDATE"))
            connection.execute(sa.text("UPDATE tidegate_row SET payload = '{}' WHERE seq = 7"))
    answer = old.ask("verify")
    assert answer.code == 3
    assert "row 7 (" in answer.value["faults"][0]


# ---- card ----------------------------------------------------------------------------------------------------------


def test_every_promoted_version_has_its_card(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    promoted = [row.model for row in world.rows("stage") if row.payload["target"] == "production"]
    assert len(promoted) == 2
    for model in promoted:
        folder = world.out / "models" / model[:12]
        assert json.loads((folder / "card.json").read_text())["model"] == model
        assert (folder / "card.md").read_text().startswith(f"# Model {model[:12]}\n")


def test_card_shows_the_champion_or_the_one_that_is_named(ended: tuple[World, Answer]) -> None:
    world, loop = ended
    answer = world.ask("card", "promote.owner=ada")
    assert (answer.code, answer.value["model"], answer.value["owner"]) == (0, loop.value["champion"], "ada")
    assert "Evaluation on 2026-05" in answer.err
    first = world.cycles()["2026-02"].champion_after
    assert world.ask("card", first[:10]).value["model"] == first
    with world.ledger() as ledger:
        assert answer.value == {**card(ledger, Store(world.out / "store"), loop.value["champion"]), "owner": "ada"}


def test_a_promotion_by_hand_writes_a_card_that_says_so(old: World) -> None:
    assert old.ask("rollback", "actor=ada", "reason=too slow").code == 0
    first = old.cycles()["2026-02"].champion_after
    text = (old.out / "models" / first[:12] / "card.md").read_text()
    assert "too slow" in text
    with old.ledger() as ledger:
        assert render(card(ledger, Store(old.out / "store"), first)) == text


# ---- gc ------------------------------------------------------------------------------------------------------------


def test_gc_removes_what_no_row_mentions(old: World) -> None:
    store = Store(old.out / "store")
    stray = store.put({"weights.safetensors": b"of a trial that was not chosen"}, {"name": "stray"})
    kept = [artifact for artifact in store.list() if artifact != stray]
    young = old.ask("gc", "--older-than", "7d")
    assert (young.code, young.value["artifacts"], young.value["files"]) == (0, [], 0)
    rehearsed = old.ask("gc", "--rehearse", "--older-than=0s")
    assert rehearsed.value["artifacts"] == [stray]
    assert "would remove 1 artifacts, 2 files, " in rehearsed.err
    assert stray in store.list()
    done = old.ask("gc", "older_than=0s")
    assert done.value == {**rehearsed.value, "rehearsed": False}
    assert store.list() == kept
    assert old.ask("verify").code == 0


def test_gc_of_a_shared_store_needs_all_its_ledgers(old: World, tmp_path: Path, line: Line) -> None:
    store = Store(old.out / "store")
    theirs = store.put({"weights.safetensors": b"theirs"}, {"name": "theirs"})
    other = f"sqlite:///{tmp_path}/other.db"
    with Ledger.open(other, "other") as ledger:
        ledger.append("note", "n", {"mentions": theirs})
    shared = [f"promote.store={old.out}/store", "older_than=0s"]
    assert old.run("gc", *shared) == 2
    assert line().startswith("ledgers: this store is shared, and other ledgers may name its models - name them: ")
    assert old.ask("gc", *shared, f"ledgers=['{other}']").value["artifacts"] == []
    assert old.ask("gc", *shared, "ledgers=[]", "--rehearse").value["artifacts"] == [theirs]


# ---- promote and rollback ------------------------------------------------------------------------------------------


def test_rollback_and_back_again(old: World) -> None:
    champion = old.cycles()[LAST].champion_after
    first = old.cycles()["2026-02"].champion_after
    rehearsed = old.ask("rollback", "actor=ada", "reason=too slow", "rehearse=true")
    assert "rehearsed: " in rehearsed.err
    done = old.ask("rollback", "actor=ada", "reason=too slow")
    assert done.code == 0
    moves = [(c["model"], c["target"], c["actor"], c["route"]) for c in done.value["changes"]]
    assert moves == [(first, "production", "ada", "rollback"), (champion, "quarantined", "ada", "rollback")]
    assert done.value == rehearsed.value
    for stage in ("candidate", "production"):
        answer = old.ask("promote", f"artifact={champion[:8]}", f"stage={stage}", "actor=ada", "reason=mended")
        assert answer.code == 0
    with old.ledger() as ledger:
        head = ledger.head(Stage.PRODUCTION)
        assert head is not None
        assert head.model == champion
        ledger.verify()


def test_a_move_that_is_not_allowed(old: World, line: Line) -> None:
    champion, before = old.cycles()[LAST].champion_after, old.rows()
    assert old.run("promote", f"artifact={champion}", "stage=staging", "actor=ada", "reason=why not") == 2
    assert line().startswith(f"stage:{champion}: production -> staging is not allowed by manual - from production")
    assert old.run("promote", f"artifact={champion}", "stage=production", "actor=ada", "reason=again") == 2
    assert line() == f"stage:{champion}: it is in production already - nothing to do"
    assert old.run("promote", f"artifact={champion}", "stage=retired", "actor=loop", "reason=who") == 2
    assert line().startswith(f"stage:{champion}: a manual change without a name - say who")
    assert old.rows() == before


def test_nothing_to_go_back_to(grown: World, line: Line) -> None:
    assert grown.run("rollback", "actor=ada", "reason=test") == 2
    assert line().startswith("production: there is no earlier champion to go back to - retrain, or promote another")


def test_a_move_by_hand_is_marked_wherever_it_is_shown(old: World) -> None:
    champion = old.cycles()[LAST].champion_after
    words = [f"artifact={champion}", "stage=retired", "actor=ada", "reason=I know better"]
    rehearsed = old.ask("promote", *words, "--rehearse")
    assert rehearsed.err.startswith("rehearsed: ")
    assert old.ask("promote", *words).value == rehearsed.value
    row = old.rows("stage")[-1]
    assert (row.payload["route"], row.payload["actor"]) == ("manual", "ada")
    assert "ada (by hand)" in old.ask("history").err
    assert "allowed by ada (by hand)" in old.ask("why", row.id).err
    assert any(
        "ada moved it by hand to retired: I know better." == limit
        for limit in old.ask("card", champion).value["limits"]
    )
    assert old.ask("report").code == 0
    assert "ada (manual)" in (old.out / "report.html").read_text()
    assert old.ask("live").code == 3


# ---- teams ---------------------------------------------------------------------------------------------------------


def test_a_loop_and_all_verbs_on_postgresql(fresh: World, postgresql_url: str) -> None:
    words = [f"promote.ledger='{postgresql_url}'"]
    loop = fresh.ask("loop", "loop.until=2026-02", *words)
    assert loop.code == 0, loop.err
    assert not (fresh.out / "ledger.db").exists()
    for verb, more in (("history", []), ("live", []), ("why", [WINDOWS[1]]), ("verify", []), ("card", []), ("gc", [])):
        answer = fresh.ask(verb, *more, *words)
        assert answer.code == 0, (verb, answer.err)
    assert fresh.ask("live", *words).value["model"] == loop.value["champion"]
    assert {b["replay"] for b in fresh.ask("why", WINDOWS[1], *words).value["because"]} == {"equal", "measured", None}
    waited = fresh.ask("loop", "loop.until=2026-02", "loop.wait=0", *words)
    assert waited.code == 0
