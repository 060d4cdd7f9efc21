# SPDX-License-Identifier: Apache-2.0
"""Masks for what is secret whatever a text is about: credentials in URLs, queries, pairs, tokens, keys."""

from __future__ import annotations

import re
from collections.abc import Callable

from otel_openstack.pattern import Pattern

MASK = "***"
MAY_BE_CUT = 250
"""Characters from which on a text may be the beginning of a longer one, so that it ends in the middle of a secret."""

Table = tuple[tuple[str, Pattern, str | Callable[[re.Match[str]], str]], ...]

# What names a secret, within a longer name or as a word of its own.
NAMES = (
    r"(?:passw(?:or)?d|passphrase|pswd|(?:admin|new|user|root|db|chap)_?pass\b|secret|token|credential|signature"
    r"|(?:api|access|private|fernet|secret|auth|ssl|ssh|encrypt(?:ion|ed)?|signing|client|hmac|account|shared)[_-]?key"
    r"|authorization|cookie|(?<![a-z])(?:pass|pwd|sig|apikey|x-amz-\w+|temp_url_\w+)(?![a-z]))"
)

# User and password: up to the last @ before the path, for there may be several hosts, each with its own.
_USER = Pattern(r"://[^\s/?#'\"<>]*@")
# The same with a slash or a question mark in the password; not host:port/path.
_ODD_USER = Pattern(r"(://|(?<=\w),)[^\s/?#@:,'\"<>]{0,128}:(?!\d{1,5}(?:[/?#\s'\",)\]]|\Z))[^\s'\"<>]{0,256}@")
_CUT_ODD_USER = Pattern(_ODD_USER.pattern.removesuffix("@") + r"\Z")
_CUT_USER = Pattern(r"://[^\s/?#'\"<>]+\Z")
_PARAMETER = Pattern(r"([?&][\w.~%\[\]-]{1,64}=)[^\s&#'\"<>\\)\]]+")

# The name, maybe quoted, and what separates it from its value; of a quoted one also a comma: ('X-Auth-Token', 'x').
_PAIR = Pattern(
    rf"({NAMES}[\w.-]{{0,40}}(?:\\*['\"]\]?\s{{0,4}}(?:=>|[=:,])|\s{{0,4}}(?:=>|[=:]|%3[ad]))\s{{0,4}}"
    r"(?:[bu](?=\\*['\"]))?)"
    # The value: quoted, with or without an end; in brackets; or a word.
    r"(?:(\\*['\"])(?:.*?(?<!\\)\2|.*)|[\[({](?:[^\])}]*[\])}]|.*)|[^\s,;&'\"<>)\]}\\]+)",
    re.IGNORECASE | re.DOTALL,
)
_PAIR_WORDS = ("pass", "pswd", "pwd", "secret", "token", "credential", "key", "sig", "auth", "cookie", "x-amz", "temp_")
_XML = Pattern(rf"(<[\w:]{{0,40}}{NAMES}[\w:]{{0,40}}>)[^<]+", re.IGNORECASE)
_ARGUMENT = Pattern(rf"((?<![\w-])--[\w-]{{0,40}}?{NAMES}[\w-]{{0,40}}\s{{1,4}})[^\s'\"-][^\s'\"]*", re.IGNORECASE)
_COOKIE = Pattern(r"(cookie\\*['\"]?\s{0,4}[:=]\s{0,4})[^\n'\"]+", re.IGNORECASE)
_SCHEME = Pattern(r"\b((?:bearer|basic|digest)\s{1,4})[\w+/=.:~-]{6,}", re.IGNORECASE)
_FERNET = Pattern(r"gAAAA[\w-]*(?:=|%3[Dd])*")
_JWT = Pattern(r"eyJ[\w-]{8,}(?:\.[\w-]*){0,2}")
_TOKEN_ID = Pattern(
    r"(token[^\n]{0,24}?)(?<![0-9a-f-])(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f-]{8,36}\Z)", re.IGNORECASE
)
_PRIVATE_KEY = Pattern(r"(BEGIN [A-Z ]{0,20}PRIVATE KEY).*?(?:END [A-Z ]{0,20}PRIVATE KEY-*|\Z)", re.DOTALL)


def _mask_pair(match: re.Match[str]) -> str:
    name, quote = match.groups()
    return f"{name}{quote}{MASK}{quote}" if quote else f"{name}{MASK}"


# What is in the text where a pattern has something to do; of the second table in its lower-case form.
_MASKS: Table = (
    ("PRIVATE KEY", _PRIVATE_KEY, rf"\1 {MASK}"),
    ("@", _USER, f"://{MASK}@"),
    ("@", _ODD_USER, rf"\1{MASK}@"),
    ("gAAAA", _FERNET, MASK),
    ("eyJ", _JWT, MASK),
    ("=", _PARAMETER, rf"\1{MASK}"),
)
_WORD_MASKS: Table = (
    ("bearer", _SCHEME, rf"\1{MASK}"),
    ("basic", _SCHEME, rf"\1{MASK}"),
    ("digest", _SCHEME, rf"\1{MASK}"),
    ("cookie", _COOKIE, rf"\1{MASK}"),
    *((word, _PAIR, _mask_pair) for word in _PAIR_WORDS),
    (">", _XML, rf"\1{MASK}"),
    ("--", _ARGUMENT, rf"\1{MASK}"),
    ("token", _TOKEN_ID, rf"\1{MASK}"),
)


def masked(value: str) -> str:
    """Mask what is secret whatever the text is about."""
    for hint, pattern, mask in _MASKS:
        if hint in value:
            value = pattern.sub(mask, value)
    if len(value) >= MAY_BE_CUT and "://" in value:
        value = _CUT_ODD_USER.sub(rf"\1{MASK}", _CUT_USER.sub(f"://{MASK}", value))
    lower = value.lower()
    done: Pattern | None = None
    for hint, pattern, change in _WORD_MASKS:
        if pattern is not done and hint in lower:
            value, done = pattern.sub(change, value), pattern
    return value
