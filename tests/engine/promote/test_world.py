"""A whole loop whose models live in a bucket and are signed: found, replaced, rolled back, evaluated, exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from engine.promote.signing import Signing
from engine.promote.store import Store
from engine.records import Stage
from tests.engine.promote.buckets import ENVIRONMENT, Environ, Server
from tests.engine.promote.test_signing import write_key
from tests.engine.world import LAST, World


def test_a_loop_lives_in_a_bucket_with_signed_models(
    new: World, s3: Server, tmp_path: Path, line: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    keys = write_key(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()))
    url = s3.bucket()
    world = World(new.folder, tmp_path / "run")
    trainer = [f"promote.store='{url}'", f"promote.sign_key={keys.private}", f"promote.verify_key={keys.public}"]
    user = trainer[::2]
    answer = world.ask("loop", f"loop.until={LAST}", "promote.cold_check=true", "promote.owner=ops", *trainer)
    assert answer.code == 0, answer.err
    assert not (world.out / "store").exists()
    changes = [row for row in world.rows("stage") if row.payload["target"] == "production"]
    assert len(changes) == 2, "the champion was replaced"
    first, second = (row.model for row in changes)
    assert answer.value["champion"] == second
    cold = [row.payload for row in world.rows("verdict") if row.payload["gate"] == "cold"]
    assert {verdict["outcome"] for verdict in cold} == {"pass"}
    store = Store(url, Signing(verify_key=keys.public))
    for model in store.list():
        store.verify(model)
    statement = json.loads(s3.client().get_object(**key(url, f"signatures/{second}.json"))["Body"].read())["provenance"]
    decision = statement["predicate"]["runDetails"]["metadata"]["invocationId"]
    candidate = statement["predicate"]["runDetails"]["byproducts"][0]["annotations"]["candidate"]
    with world.ledger() as ledger:
        assert [ledger.find(id).kind for id in (decision, candidate)] == ["decision", "candidate"]  # type: ignore[union-attr]
        assert ledger.find(candidate).payload["model"] == second  # type: ignore[union-attr]
    exported = world.out / "models" / second[:12]
    assert (exported / "weights.safetensors").read_bytes() == store.read(second, "weights.safetensors")
    for model, stage in ((first, "retired"), (second, "production")):
        card = json.loads((world.out / "models" / model[:12] / "card.json").read_text())
        assert (card["model"], card["stage"], card["owner"]) == (model, stage, "ops")
        assert card["evaluations"][0]["metrics"][0]["low"] < card["evaluations"][0]["metrics"][0]["high"]
        assert {gate["gate"] for gate in card["gates"]} >= {"offline", "cold"}
        assert (world.out / "models" / model[:12] / "card.md").read_text().startswith(f"# Model {model[:12]}")
    assert world.ask("evaluate", *user).code == 0
    assert world.ask("rollback", "actor=ada", "reason=harm", "rehearse=true", *user).code == 0

    s3.client().delete_object(**key(url, f"signatures/{first}.json"))
    capsys.readouterr()
    assert world.run("rollback", "actor=ada", "reason=harm", *user) == 2
    assert f"{url}/signatures/{first}.json: the model is not signed" in line()
    assert world.run("evaluate", f"artifact={first}", *user) == 2
    assert "the model is not signed" in line()
    with world.ledger() as ledger:
        assert ledger.head(Stage.PRODUCTION).model == second  # type: ignore[union-attr]
    assert world.ask("rollback", "actor=ada", "reason=harm", f"promote.store='{url}'").code == 0, "without the key"
    secrets = [value.encode() for name, value in ENVIRONMENT.items() if value.startswith("canary")]
    written = [path for path in world.out.rglob("*") if path.is_file()]
    assert not [path for path in written for secret in secrets if secret in path.read_bytes()]


def key(url: str, name: str) -> dict[str, str]:
    """Where a name below a URL lies, for the client."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/{name}"}


def test_the_doctor_tries_the_bucket(fresh: World, s3: Server) -> None:
    url = s3.bucket()

    def without_condition(environ: Environ) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)

    def finding(store: str) -> dict[str, str]:
        found = {f["what"]: f for f in fresh.ask("doctor", f"promote.store='{store}'", "track=none").value["findings"]}
        return found["store"]

    assert finding(url)["state"] == "good"
    with s3.ruled(without_condition):
        said = finding(url)
    assert (said["state"], "are not honoured" in said["found"]) == ("warn", True)
    assert finding("s3://no-such-bucket/x")["state"] == "bad"
    assert "store" not in [f["what"] for f in fresh.ask("doctor", "track=none").value["findings"]]
