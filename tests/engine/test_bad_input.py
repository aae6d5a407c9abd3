"""Bad input is one line, `where: what - what to do`, with exit code 2; nothing is half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.tables import write_parquet
from tests.engine.world import DATA, WINDOWS, World, write

Line = Callable[[], str]
SHAPE = re.compile(r"^\S.*?: .+ - .+$")


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; empty where there is none."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def mine(new: World, tmp_path: Path) -> World:
    """A world of three windows with files of its own, to be damaged."""
    for window in WINDOWS[:3]:
        for kind in ("windows", "labels"):
            write_parquet(pq.read_table(new.folder / kind / f"{window}.parquet"), tmp_path / kind / f"{window}.parquet")
    write(tmp_path / "conf" / "data" / "world.yaml", DATA.format(folder=tmp_path))
    write(tmp_path / "conf" / "experiment" / "world.yaml", (new.folder / "conf/experiment/world.yaml").read_text())
    return World(tmp_path, tmp_path / "run")


# ---- words of the command line: no data is read --------------------------------------------------------------------

WORDS = [
    (["loop", "trian.lr=1"], "config:trian.lr: there is no key 'trian' - did you mean 'train'?"),
    (["loop", "train.lrr=1"], "config:train.lrr: there is no key 'lrr' - did you mean 'lr'?"),
    (["loop", "+train.lrr=1"], "config:train.lrr: there is no key 'lrr' - did you mean 'lr'?"),
    (["loop", "+nothing=1"], "config:nothing: there is no key 'nothing' - choose one of out, trust"),
    (["loop", "+train.lr=1"], "config:train.lr: the key is there already - leave the + out"),
    (["loop", "~train.lrr"], "config:train.lrr: there is no such key to remove - see --cfg job"),
    (["loop", "train.lr"], "command line:train.lr: this is no override - write key=value"),
    (["loop", "train.lr=[1,2"], "command line:train.lr=[1,2: this is no override - write key=value"),
    (["loop", "a b"], "command line:a b: this is no override - write key=value"),
    (["loop", "=1"], "command line:=1: the key is missing - write key=value"),
    (["loop", "train.lr=abc"], "config:train.lr: Value 'abc' of type 'str' could not be converted to Float - give"),
    (["loop", "train.max_epochs=1.5"], "config:train.max_epochs: Value '1.5' of type 'float' could not be converted"),
    (["loop", "train=null"], "config: Config group override must be a string or a list. Got NoneType - choose an"),
    (["loop", "loop=3"], "config:loop: Invalid type assigned: int is not a subclass of LoopConf. value: 3 - give"),
    (["loop", "loop={name: [1]}"], "config:loop.name: Cannot convert 'ListConfig' to string: '[1]' - give a value"),
    (["loop", "data.numeric=pull"], "config:data.numeric: Invalid value assigned: str is not a ListConfig, list or"),
    (["loop", "data.task=binry"], "data.task: 'binry' is not a task - use one of binary, multiclass, regression"),
    (["loop", "train.lr=-1"], "train.lr: -1.0 is not a positive number - choose one such as 2e-3"),
    (
        ["loop", "model=tabullar"],
        "config:model/tabullar: there is no such config - choose one of custom, digits, resnet",
    ),
    (["loop", "experiment=wrld"], "config:experiment/wrld: there is no such config - choose one of digits, flights"),
    (["loop", "modle=tabular"], "config:modle: there is no key 'modle' - did you mean 'model'?"),
    (["loop", "out=${nowhere}"], "config:out: it refers to 'nowhere', which is not there - see --cfg job"),
    (["loop", "train.lr=intervall(1,2)"], "command line:train.lr=intervall(1,2): this is no override - write"),
    (["loop", "train.lr=interval(2,1)"], "search.space:train.lr: the interval ends at 1, at or below its start - swap"),
    (["loop", "train.lr=tag(log,interval(0,1))"], "search.space:train.lr: a log interval cannot start at 0 - start"),
    (["loop", "search.space={train.lr: 'x(1)'}"], "search.space:train.lr: 'x(1)' cannot be read"),
    (["loop", "data.slices=a,b"], "search.space:data.slices: this is no key of a trial - search keys of train and"),
    (["loop", "train.windows=1,2"], "search.space:train.windows: all trials of a sweep share their rows - compare"),
    (["loop", "model.wdth=choice(1,2)"], "search.space:model.wdth: there is no key 'wdth' - did you mean 'width'?"),
    (["train", "train.seed=1,2"], "command line:train.seed: train takes one value for a key - a list is written"),
    (["loop", "search.mode=min"], "search.mode: min would choose the worst trial by roc_auc_score - add"),
    (["loop", "search.metric=auc"], "search.metric: 'auc' is no metric of a binary model - choose one of"),
    (["loop", "evaluate.metrics=[roc_auc_score,r2_score]"], "evaluate.metrics: 'r2_score' is no metric of a binary"),
    (["loop", "evaluate.primary=f1_score"], "evaluate.primary: 'f1_score' is not computed - add it to"),
    (["loop", "decide.policy=often"], "decide.policy: 'often' is unknown - choose one of calendar, cara_cumulative"),
    (["loop", "gate.rules.floor.kind=roof"], "gate.rules:kind: 'roof' is unknown - choose one of floor"),
    (["loop", "gate.rules.better.metric=f1_score"], "gate.rules.better.metric: 'f1_score' is not in evaluate.metrics"),
    (["loop", "+gate.rules={x: {kind: noninferiority, metric: roc_auc_score, slice: city}}"], "gate.rules.x.slice: "),
    (["loop", "~gate.rules.floor"], "gate.rules: there is no floor, and the first model is judged by its floors"),
    (["loop", "~gate.shadow.holds"], "gate.shadow: there is no rule, and promote.shadow_windows is 1 - add a rule"),
    (
        ["loop", "act.rules.drift.metric=drfit.share"],
        "act.rules:metric: 'drfit.share' is unknown - did you mean drift.share",
    ),
    (["loop", "act.rules.drift.metric=model.auc.low"], "act.rules.drift.metric: 'auc.low' is not in evaluate.metrics"),
    (["loop", "model._target_=os.system"], "model._target_:os.system: this class is not on the list of trusted ones"),
    (["loop", "model._target_=engine.train.model.Tabular"], "model._target_:engine.train.model.Tabular: this class"),
    (["loop", "loop.name=../up"], "loop: '../up' is no usable name - use"),
    (["loop", "promote.ledger=mysql://host/db"], "ledger.url: mysql is not supported - use sqlite:/// or postgresql"),
    (["loop", "search.backend=slurm"], "search.backend: 'slurm' is unknown - choose ray or local"),
    (["loop", "data.path=/nowhere"], "/nowhere: no windows (*.parquet) there - set data.path, or put windows there"),
    (["loop", "data.prepare=make data", "data.path=/nowhere"], "/nowhere: no windows (*.parquet) there - run `make"),
    (["loop", "loop.founding_windows=1"], "loop.founding_windows: 1 is below 2 - use at least 2: one to train on, one"),
    (["loop", "loop.founding_windows=9"], "{folder}/windows: 8 windows, and 9 found the loop - wait for more"),
    (["evaluate", "artifact=abc"], "{out}/ledger.db: there is no ledger - run `tidegate loop` first, or set out="),
    (["history"], "{out}/ledger.db: there is no ledger - run `tidegate loop` first, or set out= or loop.name="),
    (["report"], "{out}/ledger.db: there is no ledger - run `tidegate loop` first, or set out= or loop.name="),
    (["rollback"], "actor: a change by hand needs a name - add actor=<you>"),
    (["promote", "actor=ada"], "reason: a change by hand needs a reason - add reason='...'"),
    (["validate", "window=2031-01"], "{folder}/windows: there is no window '2031-01' - did you mean '2026-01'?"),
    (["drift", "window=2026-01"], "against: 2026-01 is the first window: none is before it - name one: against=..."),
    (["drift", "live=b.parquet"], "reference: only one of the two files is named - add reference=<file>"),
    (["drift", "reference=a.xls", "live=b.parquet"], "a.xls: .xls is not a format - use .parquet .csv .arrow"),
    (["drift", "reference=/a.csv", "live=/b.csv"], "/a.csv: there is no such file - check the path"),
    (["sweep", "train.lr=0.02,-1"], "search.space:train.lr: -1.0 is not a positive number - choose one such as 2e-3"),
    (["sweep", "model=tabular,resnt"], "search.space:model: there is no option 'resnt' - did you mean 'resnet'?"),
    (["sweep", "~train.lr=1,2"], "command line:~train.lr=1,2: a key that is removed has no values - leave the values"),
    (["sweep", "train.lr=0.01"], "search.space: there is nothing to search - give a key as choice(...) or interval"),
    (["loop", "--jsn"], "command line:--jsn: there is no such flag - did you mean '--json'?"),
    (["loop", "-m"], "command line:--multirun: this flag of Hydra is not supported - search over keys with"),
    (["loop", "--experimental-rerun=x"], "command line:--experimental-rerun: this flag of Hydra is not supported"),
    (["loop", "--cfg", "jobs"], "command line:--cfg: 'jobs' is unknown - choose one of job, hydra, all"),
    (["loop", "--config-name"], "command line:--config-name: its value is missing - write it behind the flag"),
    (["loop", "--config-name", "nope"], "command line:--config-name: there is no config nope - leave it out"),
    (["loop", "--config-dir", "/nowhere"], "command line:--config-dir: there is no folder /nowhere - check the path"),
    (["lop"], "command line:lop: no such verb - did you mean 'loop'?"),
]


@pytest.mark.parametrize(("words", "expected"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
def test_words(fresh: World, line: Line, words: list[str], expected: str) -> None:
    verb, *more = words
    assert fresh.run(verb, *more) == 2
    said = line()
    assert said.startswith(expected.format(folder=fresh.folder, out=fresh.out)), said
    assert SHAPE.match(said)
    assert not fresh.out.exists()


def test_no_data_at_all(line: Line) -> None:
    from engine import cli

    assert cli.run(["loop"]) == 2
    assert line() == "data: no data is configured - add experiment=flights, or data=parquet data.path=..."
    assert cli.run(["loop", "data=parquet"]) == 2
    assert line() == "data.id: has no value - set it: data.id=...; then data.label, data.path, data.task, data.time"


# ---- a user's own folder of configs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# @package _global_\nloop: {nme: x}\n", "config:loop.nme: there is no key 'nme' - did you mean 'name'?"),
        (
            "# @package _global_\nloop: {name: x\n",
            "{folder}/conf/experiment/mine.yaml:3: not YAML (expected ','",
        ),
        ("# @package _global_\ntrain:\n\tlr: 1\n", "{folder}/conf/experiment/mine.yaml:3: not YAML (found character"),
        ("# @package _global_\ndefaults: [{override /model: x}]\n", "config:model/x: there is no such config - choose"),
        ("# @package _global_\ndefaults: [{override /modl: x}]\n", "config:modl: there is no such group - see --info"),
        ("# @package _global_\ntrain: {lr: fast}\n", "config:train.lr: Value 'fast' of type 'str' could not be"),
    ],
)
def test_an_experiment_of_ones_own(mine: World, line: Line, text: str, expected: str) -> None:
    write(mine.folder / "conf" / "experiment" / "mine.yaml", text)
    assert mine.run("loop", "experiment=mine") == 2
    said = line()
    assert said.startswith(expected.replace("{folder}", str(mine.folder))), said
    assert SHAPE.match(said)
    assert not mine.out.exists()


# ---- damaged data --------------------------------------------------------------------------------------------------


def edit(world: World, kind: str, window: str, change: Callable[[pa.Table], pa.Table]) -> None:
    path = world.folder / kind / f"{window}.parquet"
    write_parquet(change(pq.read_table(path)), path)


def cut(world: World) -> None:
    path = world.folder / "windows" / "2026-01.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def column(name: str, values: Callable[[int], object]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values(table.num_rows)))


MISSPELT = ["row", "at", "pul", "push", "noise", "colour"]
DAMAGE: list[tuple[str, Callable[[World], None], str]] = [
    ("cut short", cut, "{folder}/windows/2026-01.parquet: is not a whole Parquet file ("),
    (
        "no labels",
        lambda w: (w.folder / "labels" / "2026-02.parquet").unlink(),
        "{folder}/labels/2026-02.parquet: there is no such file - write it, or set data.labels / data.path",
    ),
    (
        "wrong column",
        lambda w: edit(w, "windows", "2026-01", lambda t: t.rename_columns(MISSPELT)),
        "{folder}/windows/2026-01.parquet:pull: there is no such column - did you mean 'pul'? Add the column, or",
    ),
    (
        "text for a number",
        lambda w: edit(w, "windows", "2026-01", column("push", lambda n: ["x"] * n)),
        "{folder}/windows/2026-01.parquet:push: is string, not a number - store numbers, or move it to",
    ),
    (
        "empty",
        lambda w: edit(w, "windows", "2026-02", lambda t: t.slice(0, 0)),
        "{folder}/windows/2026-02.parquet: is empty - a window needs at least 2 rows: widen its interval, or remove",
    ),
    (
        "one row",
        lambda w: edit(w, "windows", "2026-01", lambda t: t.slice(0, 1)),
        "{folder}/windows/2026-01.parquet: has one row - a window needs at least 2 rows: widen its interval, or",
    ),
    (
        "few rows",
        lambda w: edit(w, "windows", "2026-01", lambda t: t.slice(0, 20)),
        "{folder}/windows/2026-01.parquet: few_rows: 20 rows, expected at least 100 - mend the window, or lower",
    ),
    (
        "one class",
        lambda w: edit(w, "labels", "2026-01", column("late", lambda n: np.zeros(n, np.int64))),
        "{folder}/windows/2026-01.parquet:late: every label of the founding windows is 0 - found the loop on more",
    ),
    (
        "a third class",
        lambda w: edit(w, "labels", "2026-01", column("late", lambda n: np.arange(n) % 3)),
        "{folder}/labels/2026-01.parquet:late: 200 rows have a label that is none of 0..1, such as 2 - store 0 "
        "and 1, or list both labels in data.classes, the positive one last",
    ),
    (
        "an id twice",
        lambda w: edit(w, "windows", "2026-01", column("row", lambda n: np.zeros(n, np.int64))),
        "{folder}/windows/2026-01.parquet:row: id 0 comes more than once - give every row its own id",
    ),
    (
        "the label among the features",
        lambda w: edit(w, "labels", "2026-01", lambda t: leaking(w, t)),
        "{folder}/windows/2026-01.parquet:pull: leakage: ",
    ),
]


def leaking(world: World, labels: pa.Table) -> pa.Table:
    pull = pq.read_table(world.folder / "windows" / "2026-01.parquet")["pull"].to_numpy()
    return labels.set_column(1, "late", pa.array((pull > 0).astype(np.int64)))


@pytest.mark.parametrize(("damage", "expected"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damaged_founding_windows(mine: World, line: Line, damage: Callable[[World], None], expected: str) -> None:
    damage(mine)
    assert mine.run("loop") == 2
    said = line()
    assert said.startswith(expected.format(folder=mine.folder)), said
    assert SHAPE.match(said)
    assert not mine.out.exists()


def test_a_later_window_that_is_damaged_leaves_what_came_before(young: World, mine: World, line: Line) -> None:
    """The ledger ends with the last good window, and the loop goes on once the file is mended."""
    edit(mine, "windows", "2026-03", lambda t: t.slice(0, 0))
    answer = mine.ask("loop")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(f"{mine.folder}/windows/2026-03.parquet: is empty - ")
    assert list(mine.cycles()) == ["2026-02"]
    good = pq.read_table(young.folder / "windows" / "2026-03.parquet")
    edit(mine, "windows", "2026-03", lambda t: good)
    assert mine.ask("loop").code == 0
    assert list(mine.cycles()) == ["2026-02", "2026-03"]


# ---- models and folders --------------------------------------------------------------------------------------------


def test_a_model_file_cut_short(old: World, line: Line) -> None:
    blobs = sorted((old.out / "store" / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    for blob in blobs:
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:-3])
    before = snapshot(old.out)
    assert old.run("evaluate") == 2
    said = line()
    assert said.startswith(f"{old.out}/store/manifests/")
    assert "cut short or altered - " in said
    assert old.run("rollback", "actor=ada", "reason=test") == 2
    assert "cut short or altered - " in line()
    assert snapshot(old.out) == before


def test_a_file_where_a_folder_should_be(fresh: World, line: Line) -> None:
    fresh.out.parent.mkdir(exist_ok=True)
    fresh.out.write_text("I was here first")
    assert fresh.run("loop") == 2
    assert line() == (
        f"{fresh.out}: cannot be written: File exists - a file is where a folder should be; choose another folder"
    )
    assert fresh.out.read_text() == "I was here first"


def test_a_ledger_that_is_none(fresh: World, line: Line) -> None:
    write(fresh.out / "ledger.db", "this is a text file, and not a short one " * 50)
    assert fresh.run("history") == 2
    assert line() == f"{fresh.out}/ledger.db: this file is no ledger - name another file, or move this one away"


def test_an_unknown_model(old: World, line: Line) -> None:
    before = snapshot(old.out)
    assert old.run("promote", "artifact=0000", "stage=production", "actor=ada", "reason=test") == 2
    assert line() == "model: '0000' is unknown - see `tidegate history` for what there is"
    assert old.run("promote", "artifact=0000", "stage=prod", "actor=ada", "reason=test") == 2
    assert line().startswith("stage: 'prod' is no stage - choose one of candidate, staging")
    assert old.run("promote", "actor=ada", "reason=test") == 2
    assert line().startswith("promote: which model, and where to - add artifact=")
    assert old.run("promote", "thaw=true", "actor=ada", "reason=test") == 2
    assert line() == "thaw: promotions are not frozen - nothing to do"
    assert snapshot(old.out) == before
