"""What people type: the key of ours that each habit of Hydra's sweepers means, and the help of single verbs."""

from __future__ import annotations

from collections.abc import Sequence

FIXED = "leave it out: out= says where a loop writes"

# The beginning of a key of Hydra's -> what to do instead; the longest that fits counts.
MEANT = {
    "hydra": FIXED,  # Hydra would write every override there as it is
    "hydra/sweeper": "leave it out: tidegate sweep is the sweeper, and search=... says how it searches",
    "hydra.sweeper": "leave it out: --cfg job -p search shows the keys of a sweep",
    "hydra.sweeper.params": "write {rest}={value} as it is, or put it under search.space",
    "hydra.sweeper.n_trials": "write search.num_samples={value}",
    "hydra.sweeper.n_jobs": "write search.workers={value}",
    "hydra.sweeper.max_batch_size": "write search.workers={value}",
    "hydra.sweeper.max_trials": "write search.num_samples={value}",
    "hydra.sweeper.direction": "write search.mode=max or search.mode=min",
    "hydra.sweeper.sampler.seed": "write search.seed={value}",
    "hydra.sweeper.study_name": "write loop.name={value}",
    "hydra.sweeper.storage": "leave it out: trials are recorded below out=, and the same command goes on",
    "hydra.sweep": "write out={value}: trials are recorded below it",
    "hydra/launcher": "leave it out, and write search.workers=4 for four trials at once",
    "hydra.launcher": "leave it out, and write search.workers=4 for four trials at once",
    "hydra.mode": "leave it out: tidegate sweep searches, the other verbs take one value for a key",
}

# Words of other tools, and of stages that are no verbs -> the verb that does it.
INSTEAD = {
    **dict.fromkeys(("run", "start", "pipeline"), "loop"),
    **dict.fromkeys(("tune", "search", "hpo", "optimize"), "sweep"),
    **dict.fromkeys(("monitor", "diff", "compare"), "drift"),
    **dict.fromkeys(("decide", "explain", "replay"), "why"),
    **dict.fromkeys(("act", "alert", "ack"), "alerts"),
    **dict.fromkeys(("status", "head", "champion"), "live"),
    **dict.fromkeys(("log", "ls", "list", "ledger"), "history"),
    **dict.fromkeys(("fit", "retrain"), "train"),
    **dict.fromkeys(("score", "test", "predict"), "evaluate"),
    **dict.fromkeys(("follow", "serve", "daemon"), "watch"),
    **dict.fromkeys(("deploy", "release"), "promote"),
    **dict.fromkeys(("undo", "revert"), "rollback"),
    **dict.fromkeys(("sync", "wandb"), "resync"),
    **dict.fromkeys(("check", "env"), "doctor"),
    **dict.fromkeys(("page", "html", "dashboard"), "report"),
}

# What bare words are, in their order: `tidegate drift old.csv new.csv`.
PLACES = {"drift": ("reference", "live")}

SWEEP = """\
A key takes one value, or a sweep of Hydra's override grammar; `-m` may stand there, and changes nothing.

  train.lr='interval(1e-4, 1e-2)'               a real number between, each as likely
  train.lr='tag(log, interval(1e-4, 1e-2))'     the same on a logarithmic scale
  model.depth='int(interval(1, 4))'             1, 2, 3 or 4; with tag(log, int(...)) on a logarithmic scale
  model.width=64,128,256                        one of these; the same as 'choice(64, 128, 256)'
  train.batch_size='range(256, 1025, 256)'      256, 512, 768 or 1024
  model.width='tag(grid, choice(64, 128))'      each of these, search.num_samples points with each
  model=tabular,resnet                          a config group; 'glob(*)' or 'glob([t*, r*], exclude=tab*)' for many
  model.blocks='choice(2, 4)'                   a key that resnet alone has: a point of tabular does not carry it
  train.schedule=cosine,constant                text; 'a b','c,d' in quotes where it holds a space or , ( ) [ ] =
  model.widths='choice([64, 64], [128])'        lists and {mappings: 1} are values, too
  +model.extra=1,2                              a key that a model's config does not have yet

  int(...) float(...) str(...) bool(...) sort(...) are Hydra's. shuffle is refused: points are drawn by search.seed.

Both ends of an interval can be drawn. The same keys, values and search.seed name the same points, in whatever order
the keys stand. Every point of a space of up to 1000, else its ends, corners and first points, is composed and checked
before anything starts. In a file of your own, DIR/search/mine.yaml with --config-dir DIR and search=mine:

  num_samples: 20
  space:
    train.lr: tag(log, interval(1e-4, 1e-2))
    model: choice(tabular, resnet)

Keys given as a sweep on the command line replace the space of the file; a key with one value there leaves the space.
  --cfg job -p search          the space as it will be searched, ready for such a file; --json for programs

examples:
  tidegate sweep experiment=flights train.lr='tag(log, interval(1e-4, 1e-1))' model.width=64,128 search.num_samples=20
  tidegate sweep experiment=flights model='glob([tabular, resnet])' model.depth=1,2,3 model.blocks=1,2,4
  tidegate sweep -m experiment=flights search.num_samples=1 model.width='tag(grid, choice(64, 128))' \\
    train.lr='tag(grid, choice(1e-3, 1e-2))'                                  a grid of four
"""

DRIFT = """\
Any two tables, and no project around them:

  tidegate drift reference=january.parquet live=february.parquet
  tidegate drift january.parquet february.parquet                    the same
  tidegate drift reference=old.csv live=new.csv html=drift.html      one page with pictures of what moved
  tidegate drift reference=data/2025 live='data/2026-*.parquet'      folders, globs; CSV, Parquet, Arrow, Feather
  tidegate drift reference=s3://bucket/a.parquet live=b.parquet      URIs; large Parquet is read in passes

What a column is, is told by its type and guessed where that does not say it; guesses are shown. To say it yourself:

  numeric=[age,zip]        numbers, also where they are written as text
  categorical=[weekday]    categories, also where they are whole numbers
  ignore=[comment]         not to be compared; ids, times and constant columns are left out anyway
  prediction=score         a model's answers: their drift is called so
  label=y                  what came true; with both named, how good the answers were in either file

Parquet of 256 MB and more is scanned in shards, in memory that does not grow with it:

  workers=4                    four processes scan, on a Ray that starts and ends with the command
  cluster=ray cluster.address=HOST:PORT       all CPUs of a cluster; every machine must reach the files

A column drifts when its difference is significant and large enough to matter:

  monitor.alpha=0.01              chance of any false alarm in two files without drift, over all columns together
  monitor.numeric_floor=0.1       smallest share of rows that lie elsewhere (Kolmogorov-Smirnov distance)
  monitor.categorical_floor=0.1   smallest share of rows in other categories (total variation distance)
  monitor.missing_floor=0.05      smallest change of the share of missing values
  monitor.min_rows=50             with fewer values a column is undecidable

  --json                          all of it as one object on stdout

exit 0: no drift; 3: drift, or a column that cannot be judged; 2: bad input. In a project, without the two files:

  tidegate drift experiment=flights window=2013-05 against=2013-01
"""
METRICS = """\
The newest window of a loop as text that Prometheus reads (OpenMetrics 1.0), from its ledger alone:

  tidegate metrics experiment=flights                      once, on stdout
  tidegate metrics experiment=flights --json               by the names that rules use; what spans windows with its
                                                           interval and the ledger rows that it was made from
  tidegate loop experiment=flights track.openmetrics=/var/lib/node_exporter/tidegate.prom
                                                           a file after each cycle, for the textfile collector
  tidegate watch experiment=flights watch.metrics_port=9464
                                                           http://127.0.0.1:9464/metrics for as long as it watches

What is measured of a window and since the first one, all of it under names that rules in conf/act may use:

  data.freshness_hours, .label_lag_hours, .label_lag_windows, .unlabelled_share
  pipeline.seconds.<stage>, .rows_per_second.<stage>, .bytes_per_second.<stage>, .queue_seconds
  pipeline.cpu_seconds, .trial_cpu_seconds, .gpu_hours, .gpu_utilisation
  pipeline.cost, .training_cost, .review_cost, .running_cost, .spent, .cost_per_window, .cost_per_promotion
  pipeline.gate_pass_rate, .failed_trials_share, .failed_trials_rate         .low and .high are bounds of an interval
  pipeline.drift_open_windows, .drift_to_detection_windows, .detection_to_promotion_windows, .restore_windows ...
  pipeline.gain_points, .return_on_retraining                                in points, and in money

A number that is not known is absent; one that is undecidable is NaN. Neither is ever 0.

exit 0: told; 3: the loop has not ended a window yet; 2: bad input.
"""
BACKTEST = """\
What each policy would have cost, had it decided. Every model that the loop could have made over the windows is made,
and scored on every later window; the policies are then played over that, beside the best plan that there was:

  tidegate backtest experiment=flights                                        parameters as the config has them
  tidegate backtest experiment=flights backtest.tune=5                        each policy tuned on the first five
  tidegate backtest experiment=flights backtest.policies=[calendar,cusum]     these alone
  tidegate backtest experiment=flights decide.calendar=2 decide.review_cost=100    other prices, nothing trained anew
  tidegate backtest experiment=flights backtest.retune=true                   every model by a full sweep
  tidegate backtest backtest.streams=[abrupt,seasonal] backtest.seeds=40      simulated pasts, no data needed

  policies   any of decide.policy
  cost       points lost below the best model that could have served x decide.point_value, and what retrains cost
  regret     cost above that of the best plan, known afterwards (dynamic programming)
  interval   of the cost above the cheapest policy; paired bootstrap over the windows, or over the simulated pasts

A model of a window takes as long as `tidegate train` does. What was made is kept below <out>/backtest by content: rows,
config, code. A second call trains nothing, and one that was stopped goes on. The ledger is not written, and no stage
changes. The page with pictures is <out>/backtest.html, or html=...

exit 0: the policy of the config is not seen to be beaten; 3: another one was cheaper, by more than noise
"""
HELP = {"sweep": SWEEP, "drift": DRIFT, "metrics": METRICS, "backtest": BACKTEST}


def meant(key: str, value: str) -> str:
    """What to write in place of a key of Hydra's own."""
    parts = [begin for begin in MEANT if key == begin or key.startswith((begin + ".", begin + "/"))]
    begin = max(parts, key=len, default="hydra")
    return MEANT[begin].format(rest=key[len(begin) :].lstrip("./"), value=value or "...")


def placed(verb: str, words: Sequence[str]) -> list[str]:
    """The words of a verb, bare ones with the key of their place: the first that no other word gives."""
    keys = iter([key for key in PLACES.get(verb, ()) if not any(word.startswith(f"{key}=") for word in words)])
    return [word if "=" in word or word.startswith("~") else _keyed(next(keys, ""), word) for word in words]


def _keyed(key: str, word: str) -> str:
    return f"{key}={word}" if key else word
