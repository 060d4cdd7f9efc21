# SPDX-License-Identifier: Apache-2.0
"""Where OTLP/HTTP goes, read from the standard variables by the rules of the OTLP exporter specification.

The base endpoint gets `v1/<signal>` appended below its own path; an endpoint given for one signal is used as it stands.
A variable of one signal wins over the general one. The specification counts the timeout in milliseconds, the Python SDK
in seconds: up to 600 we follow the SDK, above it is milliseconds.
"""

from __future__ import annotations

import ipaddress
import os
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from otel_openstack.exporters.sink import Signal

DEFAULT = "http://localhost:4318"
DEFAULT_TIMEOUT = 10.0
LONGEST_SECONDS = 600
GRPC_PORT = 4317
PORTS = {"http": 80, "https": 443}
COMPRESSIONS = ("", "none", "gzip", "deflate")


class Tls(NamedTuple):
    """Files of PEM certificates and keys; empty: the system's authorities, no client certificate."""

    authorities: str = ""
    certificate: str = ""
    key: str = ""


class Origin(NamedTuple):
    """One server to connect to, perhaps through a proxy."""

    scheme: str
    host: str
    port: int
    tls: Tls = Tls()
    proxy: tuple[str, int, str] | None = None  # host, port, Proxy-Authorization

    @property
    def authority(self) -> str:
        """The host and port as a Host header wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Endpoint(NamedTuple):
    """Where one signal goes, and how."""

    origin: Origin
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    compression: str = ""

    @property
    def url(self) -> str:
        return self.origin.url + self.target


def read(signal: Signal, environ: Mapping[str, str] = os.environ) -> tuple[Endpoint, list[str]]:
    """Read the endpoint of `signal`.

    Returns:
        The endpoint, and one line for each variable that was wrong and is left out.

    Raises:
        ValueError: the endpoint itself is no URL that can be used; the message names the variable and says what to do.

    """
    problems: list[str] = []
    given, variable = setting(signal, "ENDPOINT", environ)
    parts = _parse(_url(signal, given, variable), given, variable)
    tls = Tls(*(setting(signal, name, environ)[0] for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")))
    host = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    origin = Origin(parts.scheme, host, port, tls, _proxy(parts.scheme, host, environ))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = headers(signal, environ, problems)
    if parts.username is not None and "authorization" not in sent:
        sent["authorization"] = _basic(parts)
    endpoint = Endpoint(
        origin,
        target,
        tuple(sent.items()),
        _timeout(signal, environ, problems),
        _compression(signal, environ, problems),
    )
    return endpoint, problems


def is_loopback(host: str) -> bool:
    """Whether `host` is this very machine, by its name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def setting(signal: Signal, name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the value of `OTEL_EXPORTER_OTLP_[<SIGNAL>_]<name>` and the variable that it came from."""
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        value = environ.get(variable, "").strip()
        if value:
            return value, variable
    return "", f"OTEL_EXPORTER_OTLP_{name}"


def _url(signal: Signal, given: str, variable: str) -> str:
    if given and signal.upper() in variable:
        return given
    base, question, query = (given or DEFAULT).partition("?")
    return f"{base.rstrip('/')}/v1/{signal}{question}{query}"


def _parse(url: str, given: str, variable: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna" if not url.isascii() else "ascii")
    except ValueError:
        usable = False
    if not usable or any(character <= " " or character == "\x7f" for character in url):
        raise ValueError(f"{variable}={given!r} is no http or https URL; give one such as {DEFAULT}")
    return parts


def headers(signal: Signal, environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return the headers to send, percent-decoded, names in lower case; what is wrong is told to `problems`."""
    text, variable = setting(signal, "HEADERS", environ)
    sent: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        name, value = unquote(name.strip()).lower(), unquote(value.strip())
        if not pair.strip():
            continue
        if not equals or not _is_token(name) or not _is_field_value(value):
            # The value may be a secret: it is not repeated.
            problems.append(f"{variable}: an entry is not like name=value, percent-encoded; left out")
            continue
        sent[name] = value
    return sent


def _is_token(name: str) -> bool:
    return bool(name) and name.isascii() and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name)


def _is_field_value(value: str) -> bool:
    return all(c == "\t" or (c >= " " and c != "\x7f") for c in value)


def _timeout(signal: Signal, environ: Mapping[str, str], problems: list[str]) -> float:
    text, variable = setting(signal, "TIMEOUT", environ)
    if not text:
        return DEFAULT_TIMEOUT
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        problems.append(f"{variable}={text!r} is no number of seconds above zero; using {DEFAULT_TIMEOUT:g}")
        return DEFAULT_TIMEOUT
    return number if number <= LONGEST_SECONDS else number / 1000


def _compression(signal: Signal, environ: Mapping[str, str], problems: list[str]) -> str:
    text, variable = setting(signal, "COMPRESSION", environ)
    if text.lower() not in COMPRESSIONS:
        problems.append(f"{variable}={text!r} is none of none, gzip, deflate; sending without")
        return ""
    return "" if text.lower() == "none" else text.lower()


def _basic(parts: SplitResult) -> str:
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()


def _proxy(scheme: str, host: str, environ: Mapping[str, str]) -> tuple[str, int, str] | None:
    """Return the proxy that the usual variables name; none for this machine itself."""
    text = _either(environ, f"{scheme}_proxy") or _either(environ, "all_proxy")
    if not text or is_loopback(host) or _excluded(host, _either(environ, "no_proxy")):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme != "http" or not parts.hostname:
            return None
        return parts.hostname, parts.port or PORTS["http"], _basic(parts) if parts.username is not None else ""
    except ValueError:
        return None


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _excluded(host: str, no_proxy: str) -> bool:
    names = [name.strip().lstrip(".").lower() for name in no_proxy.split(",") if name.strip()]
    return "*" in names or any(host == name or host.endswith("." + name) for name in names)
