"""Names that may become a path or a key, and those that may not."""

from __future__ import annotations

import pytest

from engine.errors import InputError
from engine.promote.names import check_key, check_name, check_sha256, shown


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "weights.safetensors", "-", "x" * 128, "a..b", "console", "com10"])
def test_names_that_fit(name: str) -> None:
    assert check_name(name, "here") == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a\n", "x" * 129, "CoN", "lpt1.txt", "\u0661"])
def test_names_that_do_not(name: str) -> None:
    with pytest.raises(InputError, match=r"^here: .* is no usable name - use 1 to 128 letters"):
        check_name(name, "here")


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n", None, 7])
def test_only_sha256_is_an_artifact_id(text: str) -> None:
    assert check_sha256("0a" * 32, "here") == "0a" * 32
    with pytest.raises(InputError, match=r"^here: .* is no artifact id - give the 64 hexadecimal digits"):
        check_sha256(text, "here")


def test_keys_may_be_any_printable_line() -> None:
    for text in ("2013-01", "a b", "d\u00e9cision", "x" * 256):
        assert check_key(text, "here") == text
    assert check_key("", "here", empty=True) == ""
    for text in ("", "a\tb", "a\u2028b", "\ud800", "x" * 257):
        with pytest.raises(InputError, match=r"^here: .* is no usable key"):
            check_key(text, "here")


def test_what_is_refused_is_shown_short_and_on_one_line() -> None:
    assert shown("a\n\x1b\u00e9") == r"'a\n\x1b\xe9'"
    assert len(shown("x" * 1000)) == 80
    assert shown("x" * 1000).endswith("...'")
