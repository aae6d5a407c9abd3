"""For people who know Hydra's sweepers: the key of ours that each habit means, and the help of `tidegate sweep`."""

from __future__ import annotations

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


def meant(key: str, value: str) -> str:
    """What to write in place of a key of Hydra's own."""
    parts = [begin for begin in MEANT if key == begin or key.startswith((begin + ".", begin + "/"))]
    begin = max(parts, key=len, default="hydra")
    return MEANT[begin].format(rest=key[len(begin) :].lstrip("./"), value=value or "...")
