"""A folder of a user's own configs: models of which only some have certain keys, and groups inside a group."""

from __future__ import annotations

from pathlib import Path

from engine.config.schema import Composer
from tests.engine.world import write

FILES = {
    "model/mlp.yaml": "_target_: mine.Mlp\nwidth: 8\ndropout: 0.1\n",
    "model/net.yaml": "defaults: [head: flat, _self_]\n_target_: mine.Net\nwidth: 8\nblocks: 2\ncells: ???\n",
    "model/head/flat.yaml": "kind: flat\n",
    "model/head/deep.yaml": "kind: deep\nsize: 4\nshape: {rows: 1}\n",
    "model/broken.yaml": "_target_: [mine\n",
    "train/fast.yaml": "max_epochs: 2\n",
}


def make_groups(folder: Path) -> Path:
    """Write the folder."""
    for name, text in FILES.items():
        write(folder / name, text)
    return folder


def make_composer(folder: Path, *words: str) -> Composer:
    """Over the built-in configs and the folder."""
    return Composer(["experiment=flights", *words], [f"file://{make_groups(folder)}"])
