"""What an object store said, in one line: what it means, what to do, and no secret.

Only codes and names of classes are shown: the text of a server's answer may repeat a key or a signed URL.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from engine.errors import ArtifactError, InputError
from engine.promote.place import RESTORE

_AGAIN = "run the same command again later"
_FULL = ("the store is full", "free some space, then run the same command again")
_DENIED = ("access is denied", "check the credentials, and their rights to list, read, write and delete here")
_NO_BUCKET = ("there is no such bucket", "make it, or correct promote.store")
_SILENT = ("does not answer", "check the network and the endpoint (AWS_ENDPOINT_URL), then run the same command again")
_NO_CREDENTIALS = ("no credentials were found", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
_REGION = ("the bucket is in another region", "set AWS_DEFAULT_REGION to its region")

_BY_CODE = {
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _NO_BUCKET,
    "AccessDenied": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "SignatureDoesNotMatch": _DENIED,
    "ExpiredToken": _DENIED,
    "InvalidToken": _DENIED,
    "TokenRefreshRequired": _DENIED,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "InsufficientStorage": _FULL,
    "QuotaExceeded": _FULL,
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set it, then run the same command again"),
    "SlowDown": ("the store is busy", _AGAIN),
}
_BY_STATUS = {401: _DENIED, 403: _DENIED, 429: ("the store is busy", _AGAIN), 507: _FULL}
_BY_CLASS = {
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "ProfileNotFound": ("AWS_PROFILE names no profile", "correct it, or set AWS_ACCESS_KEY_ID"),
    "TokenRetrievalError": _DENIED,
    "CredentialRetrievalError": _DENIED,
    "EndpointConnectionError": _SILENT,
    "ConnectTimeoutError": _SILENT,
    "ReadTimeoutError": _SILENT,
    "ConnectionClosedError": _SILENT,
    "HTTPClientError": _SILENT,
    "SSLError": ("its certificate cannot be trusted", "correct the endpoint, or set AWS_CA_BUNDLE"),
    "FSTimeoutError": _SILENT,
    "ClientPayloadError": _SILENT,
    "ConnectionError": _SILENT,
    "TimeoutError": _SILENT,
    "PermissionError": _DENIED,
}


def explained(where: str, error: BaseException) -> InputError:
    """The one line for an error of a filesystem; an ArtifactError where a name is missing."""
    what, cure = "", ""
    for cause in _chain(error):
        code, status = _answer(cause)
        known = _BY_CODE.get(code) or _BY_STATUS.get(status)
        if known is None and status >= 500:
            known = ("the store failed", _AGAIN)
        if known is None:
            known = next((_BY_CLASS[kind.__name__] for kind in type(cause).__mro__ if kind.__name__ in _BY_CLASS), None)
        if known is None and isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            known = _FULL
        if known is not None:
            what, cure = known
            said = code or (str(status) if status else "")
            what = f"{what} ({said})" if said.isalnum() else what
            return InputError(where, what, cure)
    if isinstance(error, FileNotFoundError):
        return ArtifactError(where, "the file is missing", RESTORE)
    return InputError(where, f"the store cannot be used ({type(error).__name__})", f"check its settings, or {_AGAIN}")


def is_missing(error: BaseException) -> bool:
    """Is it the name that is missing, and not the bucket."""
    return all(_answer(cause)[0] != "NoSuchBucket" for cause in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The first cause first: it knows the most."""
    causes = [error]
    while len(causes) < 10:
        cause = causes[-1].__cause__ or causes[-1].__context__
        if cause is None:
            break
        causes.append(cause)
    return reversed(causes)


def _answer(error: BaseException) -> tuple[str, int]:
    """(error code, HTTP status) of what botocore says a server answered; ("", 0) of anything else."""
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return "", 0
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code, int(status) if isinstance(status, int) else 0
