"""Who vouches for a model: signatures in the OpenSSF Model Signing format, by key pairs, without any network.

Whoever trains holds a private key (`promote.sign_key`), whoever promotes and loads holds the public one
(`promote.verify_key`). What is signed is a folder of two files, `manifest.json` and `provenance.json`: the manifest
holds the sha256 of every file of the model, so a check costs the same for every size, and each file is proved when
it is read. `signatures/<artifact>.json` holds the sigstore bundle and the provenance; the artifact id never changes.

Needs tidegate[signing] (model-signing). Elliptic curves P-256, P-384, P-521, in PEM:

    openssl ecparam -name prime256v1 -genkey -noout -out sign.pem
    openssl ec -in sign.pem -pubout -out verify.pem

The passphrase of an encrypted key is taken from the environment, TIDEGATE_SIGN_PASSPHRASE.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import ArtifactError, ConfigError, InputError
from engine.promote.provenance import PROVENANCE, STATEMENT, statement, subjects
from engine.records import canonical

PASSPHRASE = "TIDEGATE_SIGN_PASSPHRASE"
FORMAT = 1
_REFUSED = "use a model that the holder of promote.verify_key has signed"


class Signing:
    """A key to sign with, a key to check by, or both."""

    def __init__(self, *, sign_key: str = "", verify_key: str = "") -> None:
        """Read the keys.

        Args:
            sign_key: path of the private key; empty: new models are not signed.
            verify_key: path of the public key; empty: models are used unsigned. Else an artifact without a
                signature that fits is refused.

        Raises:
            ConfigError: a key that cannot be read or used, or model-signing is not installed.
        """
        self.verify_key = verify_key
        self._signer = _key("promote.sign_key", sign_key, _signer) if sign_key else None
        self._verifier = _key("promote.verify_key", verify_key, _verifier) if verify_key else None
        self._proved: set[str] = set()  # an id says all that was signed, so once is enough

    @property
    def signs(self) -> bool:
        """Are new artifacts signed."""
        return self._signer is not None

    @property
    def required(self) -> bool:
        """Is an artifact without a good signature refused."""
        return self._verifier is not None

    def sign(self, artifact: str, manifest: bytes) -> bytes:
        """What goes into `signatures/`: provenance and bundle."""
        assert self._signer is not None
        made = statement(artifact, json.loads(manifest))
        with _folder(manifest, made) as (folder, bundle):
            self._signer.sign(folder, bundle)
            signed = json.loads(bundle.read_text())
        return canonical({"format": FORMAT, "provenance": made, "bundle": signed}).encode()

    def check(self, artifact: str, manifest: bytes, read: Callable[[], bytes], where: str) -> None:
        """ArtifactError at `where` unless `read` gives a signature of this manifest by our key.

        Args:
            artifact: id of the artifact.
            manifest: its manifest, proved to have that id.
            read: gives what `sign` gave; InputError where there is none.
            where: of the signature, for people.
        """
        if self._verifier is None or artifact in self._proved:
            return
        try:
            signature = read()
        except ArtifactError as error:
            raise ArtifactError(where, f"the model is not signed ({error.what})", _REFUSED) from None
        try:
            found = json.loads(signature)
            made = found["provenance"]
            if not found["bundle"]["verificationMaterial"]["publicKey"]["hint"]:
                raise ValueError("no key is named")
            with _folder(manifest, made) as (folder, bundle), contextlib.redirect_stdout(io.StringIO()):
                bundle.write_text(json.dumps(found["bundle"]))
                self._verifier.verify(folder, bundle)
            fits = (
                found["format"] == FORMAT
                and made["_type"] == STATEMENT
                and made["predicateType"] == PROVENANCE
                and made["subject"] == subjects(artifact, json.loads(manifest))
            )
        except Exception as error:  # whatever a forged file makes the parsers raise
            what = f"the signature does not fit ({type(error).__name__})"
            raise ArtifactError(where, what, _REFUSED) from error
        if not fits:
            raise ArtifactError(where, "the signature is about something else", _REFUSED)
        self._proved.add(artifact)


@contextmanager
def _folder(manifest: bytes, made: Any) -> Iterator[tuple[Path, Path]]:
    """The folder that is signed, and a path beside it for the bundle; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        (folder / "manifest.json").write_bytes(manifest)
        (folder / "provenance.json").write_text(canonical(made))
        yield folder, Path(scratch) / "model.sig"


def _signer(path: str) -> Any:
    import model_signing

    passphrase = os.environ.get(PASSPHRASE)
    # the library hands the passphrase to cryptography as it is, which wants bytes
    password: Any = passphrase.encode() if passphrase else None
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=path, password=password)
    return config.set_hashing_config(_hashing())


def _verifier(path: str) -> Any:
    import model_signing

    return model_signing.verifying.Config().use_elliptic_key_verifier(public_key=path).set_hashing_config(_hashing())


def _hashing() -> Any:
    """sha256 of both files, none left out."""
    import model_signing

    return model_signing.hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _key(where: str, path: str, load: Callable[[str], Any]) -> Any:
    """What the library makes of a key file; the reason never holds what the file holds."""
    try:
        return load(path)
    except ImportError as error:
        cure = "pip install 'tidegate[signing]'"
        raise ConfigError(where, f"needs {error.name or 'model-signing'}, which is not installed", cure) from None
    except OSError as error:
        raise ConfigError(where, f"{path} cannot be read: {error.strerror}", "name a PEM file") from None
    except InputError:
        raise
    except Exception as error:
        kind = "private" if load is _signer else "public"
        cure = f"name a PEM file with the {kind} key of P-256, P-384 or P-521"
        if kind == "private":
            cure += f"; the passphrase of an encrypted one belongs into {PASSPHRASE}"
        raise ConfigError(where, f"{path} holds no key that can be used ({type(error).__name__})", cure) from None
