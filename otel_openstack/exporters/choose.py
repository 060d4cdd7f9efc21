# SPDX-License-Identifier: Apache-2.0
"""Which exporters the standard variables ask for.

`otlp` (the default) and `otlp_file` are sinks of ours, which the export thread feeds with ready payloads. Everything
else that is installed as an exporter of the SDK (console, prometheus, a vendor's) is handed back by name, to be built
in the process that exports and joined to the SDK's provider.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_openstack import resource, settings
from otel_openstack.exporters import endpoints
from otel_openstack.exporters.endpoints import GRPC_PORT, Endpoint
from otel_openstack.exporters.fanout import Fanout
from otel_openstack.exporters.otlp_grpc import OtlpGrpc
from otel_openstack.exporters.otlp_http import OtlpHttp
from otel_openstack.exporters.sink import SIGNALS, Encoding, Signal, Sink

if TYPE_CHECKING:
    from otel_openstack.exporters.otlp_file import OtlpFile
    from otel_openstack.exporters.statsd.config import Config as StatsdConfig

HTTP_PORT = 4318
FILE_NAMES = ("otlp_file", "otlp_json_file")
STATSD = "statsd"
PROTOCOLS: dict[str, Encoding | None] = {"http/protobuf": "protobuf", "http/json": "json", "grpc": None}
# Names that state the protocol themselves, as the SDK's entry points do.
OTLP_NAMES = {"otlp": "", "otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}


class Other(NamedTuple):
    """An exporter of the SDK's kind, by the name of its entry point."""

    signal: Signal
    name: str

    def load(self) -> Any:
        """Import the exporter's class.

        Raises:
            LookupError: nothing of that name is installed; the message says what to do.

        """
        from importlib.metadata import entry_points

        group = f"opentelemetry_{self.signal}_exporter"
        found = next(iter(entry_points(group=group, name=self.name)), None)
        if found is None:
            known = sorted(
                {
                    *OTLP_NAMES,
                    *FILE_NAMES,
                    *_of_metrics(self.signal),
                    *(point.name for point in entry_points(group=group)),
                    "none",
                }
            )
            raise LookupError(
                f"OTEL_{self.signal.upper()}_EXPORTER={self.name}: no such exporter is installed; "
                f"install it or choose from {', '.join(known)}"
            )
        return found.load()


class Choice(NamedTuple):
    """Where one signal goes: `sink` and `statsd` are ours, `others` belong to the SDK. None of them: nowhere."""

    signal: Signal
    sink: Sink | None = None
    others: tuple[Other, ...] = ()
    statsd: StatsdConfig | None = None
    """Metrics only: what its job in the export thread is told."""


class Choices(NamedTuple):
    """The choice for each signal, and one line for everything that was wrong with what was asked."""

    traces: Choice
    metrics: Choice
    logs: Choice
    problems: tuple[str, ...] = ()

    def describe(self) -> str:
        """Say in a few words where the data goes."""
        places: dict[str, list[str]] = {}
        for choice in (self.traces, self.metrics, self.logs):
            for place in _places(choice):
                places.setdefault(place, []).append(choice.signal)
        whole = [
            place if len(signals) == len(SIGNALS) else f"{'/'.join(signals)}: {place}"
            for place, signals in places.items()
        ]
        return "; ".join(whole) or "nowhere"


def choose(environ: Mapping[str, str] = os.environ) -> Choices:
    """Read `OTEL_<SIGNAL>_EXPORTER` and the variables of OTLP. Opens nothing, imports no exporter, never raises."""
    builder = _Builder(environ)
    chosen = {signal: builder.choice(signal) for signal in SIGNALS}
    return Choices(chosen["traces"], chosen["metrics"], chosen["logs"], builder.told())


class _Builder:
    """Makes the sinks; signals that share a form share the sink, and so its connection or file."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []
        self._lost: dict[str, list[Signal]] = {}
        self._file: OtlpFile | None = None
        self._grpc: OtlpGrpc | None = None
        self._http: dict[Encoding, OtlpHttp] = {}

    def choice(self, signal: Signal) -> Choice:
        asked = self.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
        names = [name for name in dict.fromkeys(part.strip() for part in asked.split(",")) if name not in ("", "none")]
        ours = [name for name in names if name in OTLP_NAMES or name in FILE_NAMES]
        with_file = any(name in FILE_NAMES for name in ours) and len(ours) > 1
        sinks = [sink for sink in (self._sink(signal, name, with_file) for name in ours) if sink is not None]
        statsd = self._statsd() if STATSD in names and signal == "metrics" else None
        left = [Other(signal, name) for name in names if name not in ours and (name != STATSD or not statsd)]
        sink = None if not sinks else sinks[0] if len(sinks) == 1 else Fanout(sinks)
        return Choice(signal, sink, tuple(filter(self._serves, left)), statsd)

    def _statsd(self) -> StatsdConfig:
        from otel_openstack.exporters.statsd import config  # for the few who ask for it

        chosen, problems = config.read(settings.get())
        self.problems += problems
        return chosen

    def told(self) -> tuple[str, ...]:
        """Return one line for each thing that was wrong, whatever signals it bears on."""
        lost = [f"{reason}; {' and '.join(signals)} go nowhere" for reason, signals in self._lost.items()]
        return tuple(dict.fromkeys([*self.problems, *lost]))

    def _serves(self, other: Other) -> bool:
        from importlib.metadata import entry_points

        if other.signal == "logs":  # there is no logger provider of the SDK's: what we log are our own events
            self._lost.setdefault(f"OTEL_LOGS_EXPORTER={other.name} takes no events of ours", []).append("logs")
            return False
        if entry_points(group=f"opentelemetry_{other.signal}_exporter", name=other.name):
            return True
        try:
            other.load()
        except LookupError as error:
            self.problems.append(str(error.args[0]))
        return False

    def _sink(self, signal: Signal, name: str, with_file: bool) -> Sink | None:
        if name in FILE_NAMES:
            self._file = self._file or _file_sink()
            return self._file
        protocol = OTLP_NAMES[name] or self._protocol(signal)
        if protocol == "grpc" and not with_file:
            self._grpc = self._grpc or OtlpGrpc(self._http_for_green, self.environ)
            return self._grpc
        # One payload for the file and for the collector: both take JSON.
        encoding: Encoding = "json" if with_file else PROTOCOLS[protocol] or "protobuf"
        return self._http_sink(signal, encoding)

    def _protocol(self, signal: Signal) -> str:
        text, variable = endpoints.setting(signal, "PROTOCOL", self.environ)
        if text and text not in PROTOCOLS:
            self.problems.append(f"{variable}={text!r} is none of {', '.join(PROTOCOLS)}; using http/protobuf")
        return text if text in PROTOCOLS else "http/protobuf"

    def _http_sink(self, signal: Signal, encoding: Encoding) -> OtlpHttp | None:
        endpoint = self._endpoint(signal)
        if endpoint is None:
            return None
        try:
            sink = self._http[encoding] = self._http.get(encoding) or OtlpHttp(encoding)
            sink.add(signal, endpoint)
        except (OSError, ValueError) as error:
            tls = endpoint.origin.tls
            names = ", ".join(name for name in (tls.authorities, tls.certificate, tls.key) if name)
            reason = f"cannot use the certificates {names} for {endpoint.origin.url}: {error}"
            self._lost.setdefault(reason, []).append(signal)
            return None
        return sink

    def _endpoint(self, signal: Signal) -> Endpoint | None:
        try:
            endpoint, problems = endpoints.read(signal, self.environ)
        except ValueError as error:
            self._lost.setdefault(str(error), []).append(signal)
            return None
        self.problems += problems
        return endpoint

    def _http_for_green(self) -> Sink:
        """Make the sink that stands in for gRPC: the same host, at the port of OTLP over HTTP."""
        sink = OtlpHttp("protobuf")
        for signal in SIGNALS:
            endpoint = self._endpoint(signal)
            if endpoint is None:
                continue
            if endpoint.origin.port == GRPC_PORT:
                endpoint = endpoint._replace(origin=endpoint.origin._replace(port=HTTP_PORT))
            if endpoint.target == "/":
                endpoint = endpoint._replace(target=f"/v1/{signal}")
            sink.add(signal, endpoint)
        return sink


def _file_sink() -> OtlpFile:
    from otel_openstack.exporters.otlp_file import OtlpFile  # pathlib: 1 ms of every other process

    options = settings.get()
    return OtlpFile(options.file_directory, resource.service_name, options.file_max_bytes, options.file_total_bytes)


def _of_metrics(signal: Signal) -> tuple[str, ...]:
    return (STATSD,) if signal == "metrics" else ()


def _places(choice: Choice) -> list[str]:
    places = [other.name for other in choice.others]
    if choice.statsd is not None:
        places.insert(0, f"statsd at {choice.statsd.endpoint}")
    return [choice.sink.describe(), *places] if choice.sink is not None else places
