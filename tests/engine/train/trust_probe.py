"""Every way we know to smuggle code in as data, under an audit hook. A program of its own: no hook can be removed.

    python -m tests.engine.train.trust_probe <folder>

Prints one JSON object: how many of each kind were tried, what was accepted, and what the hook saw.
"""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.config.explain import one_line
from engine.config.schema import compose_config
from engine.errors import InputError
from engine.models.predictor import cold_check, load, pack
from engine.promote.store import Store
from engine.train import weights
from engine.train.inference import build
from engine.train.registry import resolve
from tests.engine.tides import MODEL, TRAIN, make_encoder, make_window

NAMES = """
os.system os.popen os.execv os.spawnv os.posix_spawn os.remove os.rename os.putenv os.kill posix.system pty.spawn
subprocess.Popen subprocess.run subprocess.check_output subprocess.getoutput asyncio.create_subprocess_shell
builtins.eval builtins.exec builtins.compile builtins.open builtins.__import__ builtins.getattr builtins.print
pickle.loads pickle.Unpickler _pickle.loads marshal.loads shelve.open cloudpickle.loads torch.load numpy.load
joblib.load pandas.read_pickle dill.loads torch.hub.load torch.jit.load torch.package.PackageImporter
importlib.import_module importlib.reload runpy.run_path runpy.run_module code.interact timeit.timeit
ctypes.CDLL ctypes.cdll.LoadLibrary cffi.FFI socket.socket socket.create_connection multiprocessing.Process
threading.Thread webbrowser.open shutil.rmtree shutil.copyfile shutil.unpack_archive pathlib.Path.write_text
pathlib.Path.unlink io.open tempfile.NamedTemporaryFile zipfile.ZipFile tarfile.open urllib.request.urlopen
urllib.request.urlretrieve http.client.HTTPConnection smtplib.SMTP ftplib.FTP sqlite3.connect logging.FileHandler
logging.config.dictConfig unittest.main doctest.testmod pdb.set_trace operator.attrgetter functools.partial
functools.reduce types.FunctionType yaml.load yaml.unsafe_load hydra.utils.instantiate hydra.utils.call
hydra.utils.get_method omegaconf.OmegaConf.load lightning.Trainer lightning.LightningModule.load_from_checkpoint
ray.init ray.remote wandb.init sys.exit sys.setprofile gc.get_objects site.main venv.create ensurepip.bootstrap
"""
TARGETS = NAMES.split()
REEXPORTED = (
    "os",
    "sys",
    "subprocess",
    "shutil",
    "pickle",
    "socket",
    "importlib",
    "tempfile",
    "builtins",
    "ctypes",
    "runpy",
)
CALLED = {
    "os": "system",
    "sys": "exit",
    "subprocess": "Popen",
    "shutil": "rmtree",
    "pickle": "loads",
    "socket": "socket",
    "importlib": "import_module",
    "tempfile": "mkstemp",
    "builtins": "eval",
    "ctypes": "CDLL",
    "runpy": "run_path",
}
ALIASES = 200
WATCHED = ("exec", "compile", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")
WATCHED += (
    "socket.bind",
    "ctypes.dlopen",
    "pickle.find_class",
    "webbrowser.open",
    "shutil.rmtree",
    "import",
    "os.remove",
)
YAML_TAGS = (
    "!!python/object/apply:os.system [touch {mark}]",
    "!!python/object/new:os.system [touch {mark}]",
    "!!python/name:os.system ''",
    "!!python/module:os ''",
    "!!python/object:subprocess.Popen {{args: [touch, {mark}]}}",
    '!!python/object/apply:eval [\'open("{mark}", "w")\']',
)


def aliases() -> list[str]:
    """Dangerous functions under the names of modules that happen to import them, spread over what is loaded."""
    found = []
    for name in sorted(sys.modules):
        module = sys.modules[name]
        for inner in REEXPORTED:
            if getattr(module, "__dict__", {}).get(inner) is importlib.import_module(inner):
                found.append(f"{name}.{inner}.{CALLED[inner]}")
    step = max(1, len(found) // ALIASES)
    return found[::step][:ALIASES]


class Bomb:
    """A pickle that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.write_text, (self.mark, "boom"))


def artifacts(store: Store, mark: Path) -> Iterator[tuple[str, str]]:
    """(what is smuggled, artifact): whole by the store's own account."""
    encoder = make_encoder()
    dumped = weights.dump(build(MODEL, encoder.spec, TRAIN))
    files = pack(
        encoder=encoder, weights=dumped, model=MODEL, train=TRAIN, probe=make_window(2, n=20).table, trusted=()
    )
    described = json.loads(files["model.json"])
    torch.save({"x": Bomb(mark)}, mark.with_name("bomb.pt"))
    bombs = {"pickle": pickle.dumps(Bomb(mark)), "torch.save": mark.with_name("bomb.pt").read_bytes()}
    for name in files:
        for kind, data in bombs.items():
            yield f"{kind} as {name}", store.put({**files, name: data}, {})
    smuggled: list[dict[str, Any]] = [{"_target_": target} for target in TARGETS]
    smuggled += [{"_instantiator": target} for target in TARGETS[:20]]
    smuggled += [{key: value} for key in ("_args_", "_partial_", "_recursive_", "_convert_") for value in ([1], True)]
    smuggled += [{"width": {"_target_": "os.system", "command": f"touch {mark}"}}, {"dropout": "${oc.env:HOME}"}]
    smuggled += [{"trust": ["os"]}, {"width": f"!!python/object/apply:os.system [touch {mark}]"}]
    for change in smuggled:
        model = {**described, "model": {**described["model"], **change}}
        yield f"model.json {change}", store.put({**files, "model.json": json.dumps(model).encode()}, {})


def main(folder: Path) -> dict[str, Any]:
    """Prepare everything, then watch."""
    mark = folder / "mark"
    store = Store(folder / "store")
    whole = list(artifacts(store, mark))
    conf = folder / "conf" / "experiment"
    conf.mkdir(parents=True)
    for number, tag in enumerate(YAML_TAGS):
        text = tag.format(mark=mark)
        (conf / f"tag{number}.yaml").write_text(f"# @package _global_\nloop:\n  name: {text}\n")
    compose_config(["out=x", "experiment=digits"])  # what composing imports is ours, and is imported by now
    tried = {"targets": TARGETS, "aliases": aliases()}
    cases: list[tuple[str, str, Callable[[], object]]] = []
    for kind, names in tried.items():
        cases += [(kind, name, partial(resolve, name)) for name in names]
        cases += [(f"{kind}, torch trusted", name, partial(resolve, name, ("torch", "lightning"))) for name in names]
    cases += [("artifacts", s, partial(load, store, a)) for s, a in whole if "probe.json" not in s]  # it reads no probe
    cases += [("artifacts, cold", said, partial(cold_check, store, artifact)) for said, artifact in whole]
    for number, tag in enumerate(YAML_TAGS):
        words = ["out=x", f"experiment=tag{number}"]
        cases.append(("YAML tags", tag, partial(compose_config, words, [f"file://{folder}/conf"])))
    events: list[str] = []
    watching = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching:
            return
        if event in WATCHED and not _ours(event, arguments):
            events.append(f"{event} {arguments!r:.120}")
        if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            events.append(f"open {arguments!r:.120}")

    sys.addaudithook(hook)
    counts: dict[str, int] = {}
    accepted = []
    for kind, said, attempt in cases:
        counts[kind] = counts.get(kind, 0) + 1
        watching = kind not in ("targets, torch trusted", "aliases, torch trusted")  # those import what is trusted
        try:
            attempt()
            accepted.append(f"{kind}: {said}")
        except InputError:
            pass
        except Exception as error:
            if one_line(error) is None:
                accepted.append(f"{kind}: {said}: {error!r}")
        watching = False
    seen, watching = list(events), True
    eval(compile("1 + 1", "payload", "eval"))
    (folder / "control").write_text("x")
    subprocess.run(["true"], check=True)
    watching = False
    control = [event.split()[0] for event in events[len(seen) :]]  # a hook that sees nothing proves nothing
    return {"counts": counts, "accepted": accepted, "events": seen, "control": control, "marked": mark.exists()}


def _ours(event: str, arguments: tuple[Any, ...]) -> bool:
    """Code that the standard library makes of its own templates (dataclasses, namedtuples) is nobody's payload."""
    if event == "import":
        return str(arguments[0]).split(".")[0] in {"engine", "encodings"}
    if event == "compile":
        return str(arguments[1]) in ("<string>", "None")
    if event == "exec":
        return getattr(arguments[0], "co_filename", "") == "<string>"
    return False


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
