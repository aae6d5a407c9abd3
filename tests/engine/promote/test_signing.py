"""Signatures: what a key vouches for, and that nothing else passes, neither at promotion nor at load."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from engine.errors import ArtifactError, ConfigError, InputError
from engine.models import challenger, predictor
from engine.promote.gc import collect
from engine.promote.ledger import Ledger
from engine.promote.provenance import statement
from engine.promote.rollback import promote
from engine.promote.signing import PASSPHRASE, Signing
from engine.promote.store import Store
from engine.records import Stage, canonical
from tests.engine.models.test_predictor import make_files
from tests.engine.promote.conftest import bring, step
from tests.patience import ENOUGH

MANIFEST = {
    "decision": "d" * 64,
    "window": "2026-03",
    "data": {"2026-01": "1" * 64, "2026-02": "2" * 64},
    "config": {"train": {"lr": 0.1}},
    "params": {"train.lr": 0.1},
    "code": {"tidegate": "1.0", "commit": "c" * 40, "python": "3.11"},
    "packages": {"torch": "2.13"},
}


@dataclass(frozen=True)
class Pair:
    """A private key and its public one."""

    private: str
    public: str


def write_key(path: Path, key: Any, passphrase: bytes = b"") -> Pair:
    secret = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pair = Pair(str(path), f"{path}.pub")
    path.write_bytes(private)
    Path(pair.public).write_bytes(public)
    return pair


@pytest.fixture
def keys(tmp_path: Path) -> Pair:
    return write_key(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return make_files()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"  # the database does not matter here


@pytest.fixture
def signed(tmp_path: Path, keys: Pair) -> Store:
    """Signs what is put."""
    return Store(tmp_path / "artifacts", Signing(sign_key=keys.private))


def strict(store: Store, keys: Pair) -> Store:
    """The same store as a process sees it that refuses what is not signed."""
    return Store(store.url, Signing(verify_key=keys.public))


def signature(store: Store, artifact: str) -> Path:
    return store.root / "signatures" / f"{artifact}.json"


def test_a_signed_model_is_promoted_and_loaded_and_its_id_is_that_of_an_unsigned_one(
    signed: Store, keys: Pair, ledger: Ledger, files: dict[str, bytes], tmp_path: Path
) -> None:
    artifact = signed.put(files, MANIFEST)
    assert artifact == Store(tmp_path / "plain").put(files, MANIFEST)
    store = strict(signed, keys)
    bring(ledger, artifact, Stage.PREPRODUCTION)
    promote(ledger, store, model=artifact, target=Stage.PRODUCTION, reason="good", actor="ada")
    assert predictor.load(store, artifact).artifact == artifact
    assert challenger.cold_check(store, artifact, ()).agrees.fine


def unsign(store: Store, artifact: str, other: str) -> None:
    signature(store, artifact).unlink()


def flip_weights(store: Store, artifact: str, other: str) -> None:
    blob = store.root / "blobs" / store.manifest(artifact)["files"]["weights.safetensors"]["sha256"]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(bytes(data))


def change_manifest(store: Store, artifact: str, other: str) -> None:
    path = store.path_of(artifact)
    path.write_bytes(path.read_bytes().replace(b"2026-03", b"2026-04"))


def change(store: Store, artifact: str, alter: Callable[[dict[str, Any]], None]) -> None:
    found = json.loads(signature(store, artifact).read_text())
    alter(found)
    signature(store, artifact).write_text(json.dumps(found))


def change_provenance(store: Store, artifact: str, other: str) -> None:
    def alter(found: dict[str, Any]) -> None:
        made = found["provenance"]["predicate"]["buildDefinition"]["resolvedDependencies"]
        made[0]["digest"]["tidegateFingerprint"] = "9" * 64

    change(store, artifact, alter)


def change_signature(store: Store, artifact: str, other: str) -> None:
    def alter(found: dict[str, Any]) -> None:
        envelope = found["bundle"]["dsseEnvelope"]["signatures"][0]
        data = bytearray(base64.b64decode(envelope["sig"]))
        data[-1] ^= 1
        envelope["sig"] = base64.b64encode(bytes(data)).decode()

    change(store, artifact, alter)


def change_payload(store: Store, artifact: str, other: str) -> None:
    """Whoever alters the manifest alters the digest of it that was signed, too."""

    def alter(found: dict[str, Any]) -> None:
        envelope = found["bundle"]["dsseEnvelope"]
        payload = json.loads(base64.b64decode(envelope["payload"]))
        payload["predicate"]["resources"].reverse()
        envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()

    change(store, artifact, alter)


def swap(store: Store, artifact: str, other: str) -> None:
    signature(store, artifact).write_bytes(signature(store, other).read_bytes())


def sign_by_stranger(store: Store, artifact: str, other: str) -> None:
    stranger = write_key(store.root.parent / "stranger.pem", ec.generate_private_key(ec.SECP256R1()))
    data = Signing(sign_key=stranger.private).sign(artifact, store.manifest_bytes(artifact))
    signature(store, artifact).write_bytes(data)


def sign_about_another(store: Store, artifact: str, other: str) -> None:
    """Our key signed this manifest, beside a provenance of something else."""
    signature(store, artifact).write_bytes(store.signing.sign(other, store.manifest_bytes(artifact)))


def claim_our_key(store: Store, artifact: str, other: str) -> None:
    """A stranger's signature that names our key."""
    ours = json.loads(signature(store, artifact).read_text())["bundle"]["verificationMaterial"]
    sign_by_stranger(store, artifact, other)
    change(store, artifact, lambda found: found["bundle"].update(verificationMaterial=ours))


def name_no_key(store: Store, artifact: str, other: str) -> None:
    change(store, artifact, lambda found: found["bundle"]["verificationMaterial"]["publicKey"].pop("hint"))


def cut(store: Store, artifact: str, other: str) -> None:
    signature(store, artifact).write_bytes(signature(store, artifact).read_bytes()[:-50])


TAMPER = [
    unsign,
    flip_weights,
    change_manifest,
    change_provenance,
    change_signature,
    change_payload,
    swap,
    sign_by_stranger,
    sign_about_another,
    claim_our_key,
    name_no_key,
    cut,
]


def test_whatever_was_tampered_with_is_refused_at_promotion_and_at_load(
    signed: Store,
    keys: Pair,
    ledger: Ledger,
    files: dict[str, bytes],
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused = 0
    other = signed.put(files, {"another": "model"})
    for number, tamper in enumerate(TAMPER):
        artifact = signed.put(files, {**MANIFEST, "number": number})
        ledger.change(step(artifact, None, Stage.CANDIDATE))
        whole = {path: path.read_bytes() for path in signed.root.rglob("*") if path.is_file()}
        tamper(signed, artifact, other)
        for act in (
            lambda store: promote(
                ledger,
                store,
                model=artifact,  # noqa: B023
                target=Stage.STAGING,
                reason="",
                actor="ada",
            ),
            lambda store: predictor.load(store, artifact),  # noqa: B023
        ):
            with pytest.raises(ArtifactError) as caught:
                act(strict(signed, keys))  # type: ignore[no-untyped-call]
            assert artifact in str(caught.value)
            assert "\n" not in str(caught.value)
            refused += 1
        assert ledger.stage_of(artifact) is Stage.CANDIDATE
        if number == 0:  # a fresh process for each would take too long
            agrees = challenger.cold_check(strict(signed, keys), artifact, ()).agrees
            assert not agrees.fine
            assert "the model is not signed" in agrees.reason
        for path, data in whole.items():
            path.write_bytes(data)
        predictor.load(strict(signed, keys), artifact)
    assert capsys.readouterr().out == ""
    count = len(TAMPER)
    record_property("tampered or unsigned models are refused", f"{refused // 2} of {count} kinds at promotion and load")
    assert refused == 2 * count


def test_without_a_key_to_check_by_an_unsigned_model_is_used(
    tmp_path: Path, keys: Pair, files: dict[str, bytes]
) -> None:
    store = Store(tmp_path / "plain")
    artifact = store.put(files, MANIFEST)
    predictor.load(store, artifact)
    with pytest.raises(ArtifactError, match=r"the model is not signed \(the file is missing\) - use a model that"):
        predictor.load(strict(store, keys), artifact)
    again = Store(store.url, Signing(sign_key=keys.private))
    assert again.put(files, MANIFEST) == artifact, "to put it again is to sign it"
    predictor.load(strict(store, keys), artifact)


def test_the_provenance_says_what_the_model_was_made_of(signed: Store, keys: Pair, files: dict[str, bytes]) -> None:
    artifact = signed.put(files, MANIFEST)
    made = json.loads(signature(signed, artifact).read_text())["provenance"]
    assert made == statement(artifact, signed.manifest(artifact))
    assert made["subject"][0] == {"name": artifact, "digest": {"sha256": artifact}}
    assert {s["name"]: s["digest"]["sha256"] for s in made["subject"][1:]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    build = made["predicate"]["buildDefinition"]
    dependencies = {d["name"]: d.get("digest", d.get("annotations")) for d in build["resolvedDependencies"]}
    assert dependencies["window 2026-01"] == {"tidegateFingerprint": "1" * 64}
    assert dependencies["code"] == {"gitCommit": "c" * 40}
    assert dependencies["package torch"] == {"version": "2.13"}
    assert len(dependencies["installed packages"]["sha256"]) == 64
    config = hashlib.sha256(canonical([MANIFEST["config"]]).encode()).hexdigest()
    assert build["externalParameters"]["config"] == {"sha256": config}
    assert made["predicate"]["runDetails"]["metadata"] == {"invocationId": "d" * 64}


def test_others_can_check_it_with_the_librarys_own_program(
    signed: Store, keys: Pair, files: dict[str, bytes], tmp_path: Path
) -> None:
    artifact = signed.put(files, MANIFEST)
    found = json.loads(signature(signed, artifact).read_text())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(signed.manifest_bytes(artifact))
    (folder / "provenance.json").write_text(canonical(found["provenance"]))
    (tmp_path / "model.sig").write_text(json.dumps(found["bundle"]))
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    command += ["--signature", str(tmp_path / "model.sig"), "--public_key", keys.public]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=ENOUGH, check=False)
    assert answer.returncode == 0, answer.stderr
    (folder / "manifest.json").write_bytes(b"{}")
    assert subprocess.run(command, capture_output=True, timeout=ENOUGH, check=False).returncode != 0


def test_the_signature_is_there_before_the_manifest_and_goes_with_it(
    signed: Store, ledger: Ledger, files: dict[str, bytes]
) -> None:
    from datetime import timedelta

    from engine.system import durable

    seen: list[str] = []

    def watch(one: durable.Step, execute: Callable[[], None]) -> None:
        if one.target:
            seen.append(one.target.parent.name)
        execute()

    with durable.intercept(watch):
        artifact = signed.put(files, MANIFEST)
    assert seen[-2:] == ["signatures", "manifests"]
    assert collect([ledger], signed, older_than=timedelta(0)).artifacts == (artifact,)
    assert not signature(signed, artifact).exists()


def test_gc_keeps_what_a_ledger_names_though_nobody_signed_it(
    tmp_path: Path, keys: Pair, ledger: Ledger, files: dict[str, bytes]
) -> None:
    from datetime import timedelta

    store = Store(tmp_path / "plain")
    artifact = store.put(files, {})
    bring(ledger, artifact)
    assert collect([ledger], strict(store, keys), older_than=timedelta(0)).files == 0
    store.verify(artifact)


def test_keys_with_a_passphrase_and_of_other_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        pair = write_key(tmp_path / f"{curve.name}.pem", ec.generate_private_key(curve), b"open sesame")
        monkeypatch.setenv(PASSPHRASE, "open sesame")
        store = Store(tmp_path / curve.name, Signing(sign_key=pair.private, verify_key=pair.public))
        store.verify(store.put(files, MANIFEST))
        for wrong in ("", "shut sesame"):
            monkeypatch.setenv(PASSPHRASE, wrong)
            with pytest.raises(
                ConfigError, match=r"promote\.sign_key: .* no key .* belongs into TIDEGATE_SIGN"
            ) as caught:
                Signing(sign_key=pair.private)
            assert "sesame" not in str(caught.value)


def test_a_key_that_cannot_be_used_is_one_line(tmp_path: Path, keys: Pair) -> None:
    garbage, other = tmp_path / "garbage.pem", write_key(tmp_path / "rsa", rsa.generate_private_key(65537, 2048))
    garbage.write_text("-----BEGIN PRIVATE KEY-----\nhush\n")
    curve = write_key(tmp_path / "k1", ec.generate_private_key(ec.SECP256K1()))
    bad = [str(tmp_path / "nowhere"), str(tmp_path), str(garbage)]
    for where, paths in (
        ("sign_key", [*bad, other.private, curve.private, keys.public]),
        ("verify_key", [*bad, other.public, curve.public, keys.private]),
    ):
        for path in paths:
            with pytest.raises(InputError) as caught:
                Signing(**{where: path})
            line = str(caught.value)
            assert line.startswith(f"promote.{where}: {path} ")
            assert " - name a PEM file" in line
            assert "\n" not in line
            assert "hush" not in line


def test_without_the_library_a_key_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, keys: Pair) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ConfigError, match=r"promote\.sign_key: needs model_signing, which is not installed - pip inst"):
        Signing(sign_key=keys.private)
    Signing()
