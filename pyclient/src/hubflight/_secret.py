"""Secrets: a type that cannot be printed by accident, and the redaction of texts."""

from __future__ import annotations

import os
import re

__all__ = ["Secret", "find_hub_token", "redact", "token_of", "token_of_variable"]

# The same rules as the server's (source/redact.go). Over-matching is fine;
# missing is not.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), r"\1 [redacted]"),
    (re.compile(r"\b(hf|api|hfl)_[A-Za-z0-9_]{6,}"), "[redacted]"),
    (re.compile(r"""(https?://[^\s"'?#<>]*)[?#][^\s"'<>)]*"""), r"\1?[redacted]"),
    (re.compile(r"""(https?://)[^\s/@"']+@"""), r"\1[redacted]@"),
)


class Secret:
    """A token. It prints as ``[redacted]``; only `reveal` gives it away.

    It is picklable, because Spark sends it to the tasks, and pickles are not shown to anybody.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip()

    def reveal(self) -> str:
        """The token itself: to be used for a request header and nothing else."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "[redacted]" if self._value else "[none]"

    __str__ = __repr__

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self._value,)


def redact(text: str, *secrets: Secret | None) -> str:
    """``text`` without the given secrets and without anything that looks like one."""
    for secret in secrets:
        if secret and len(secret.reveal()) >= 4:
            text = text.replace(secret.reveal(), "[redacted]")
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def token_of(value: object, where: str) -> Secret:
    """``value`` as a token that a header can carry; InvalidOption names ``where`` it is from, and never shows it."""
    from hubflight.errors import InvalidOption

    token = Secret(value) if isinstance(value, str) else value
    if isinstance(token, Secret) and token and token.reveal().isascii() and token.reveal().isprintable():
        return token
    raise InvalidOption(f"[invalid] {where}: not a token: one is a line of printable ASCII characters")


def token_of_variable(name: str) -> Secret | None:
    """The token in a variable of the environment; None if it is not set, or blank."""
    value = os.environ.get(name, "")
    return token_of(value, f"environment variable {name}") if value.strip() else None


def find_hub_token() -> Secret | None:
    """The Hub token of this machine's user, found where huggingface_hub and the server look (source/hub/token.go).

    HF_TOKEN, HUGGING_FACE_HUB_TOKEN, then the login file (HF_TOKEN_PATH, else $HF_HOME/token), which is read anew every
    time. ``HF_HUB_DISABLE_IMPLICIT_TOKEN`` turns the search off. None if there is no token; one that cannot be sent, or
    a login file that cannot be read, is an error.
    """
    from hubflight.errors import InvalidOption, Unsupported

    if os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return None
    if os.environ.get("HF_OIDC_RESOURCE"):
        raise Unsupported(
            "[unsupported] hub token: HF_OIDC_RESOURCE asks for a token exchange, which is not supported: unset it and "
            "set HF_TOKEN"
        )
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = token_of_variable(name)
        if token is not None:
            return token
    login = "the login file that HF_TOKEN_PATH or HF_HOME names"
    try:
        with open(_login_file(), "rb") as file:
            raw = file.read(_MAX_LOGIN + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise InvalidOption(f"[invalid] hub token: {login} cannot be read: {exc.strerror}") from None
    if len(raw) > _MAX_LOGIN:
        raise InvalidOption(f"[invalid] hub token: {login} is no token file")
    text = raw.decode("ascii", "replace")  # what is replaced is refused
    return token_of(text, f"hub token: {login}") if text.strip() else None


_MAX_LOGIN = 16 << 10


def _login_file() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    path = os.environ.get("HF_TOKEN_PATH") or os.path.join(home, "token")
    return os.path.expanduser(os.path.expandvars(path))
