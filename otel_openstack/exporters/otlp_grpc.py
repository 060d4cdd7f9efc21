# SPDX-License-Identifier: Apache-2.0
"""OTLP over gRPC, where an operator asks for it.

Only the channel is gRPC's; the payloads are ours, so that the books and the bounded end hold as for HTTP. gRPC is
loaded at the first export of a process. In a process with green threads it would freeze the hub (its locks are
threading's, which are green there): we go over HTTP instead and say so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import context

from otel_openstack.exporters import endpoints, partial
from otel_openstack.exporters.sink import Encoding, Outcome, Signal, Sink
from otel_openstack.runtime import notices, originals, process, worker
from otel_openstack.runtime.originals import monotonic

DEFAULT = "http://localhost:4317"
METHODS: dict[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
RETRYABLE = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
SLICE = 0.05  # seconds between looks at the deadline
PAUSE = 2.0  # seconds before a failed server is tried again
WORDS_OF_OTHERS = 200
# An instrumentor of gRPC would make a span of every export, which is exported, and so on.
UNTRACED = "suppress_instrumentation"


class OtlpGrpc:
    """A sink that calls the export service of a collector, one channel a signal."""

    encoding: Encoding = "protobuf"

    def __init__(self, instead: Callable[[], Sink], environ: Mapping[str, str] = os.environ) -> None:
        """Prepare; gRPC is loaded at the first `send`.

        Args:
            instead: makes the sink that serves in a green process.
            environ: the standard OTLP variables.

        """
        self._instead = instead
        self._environ = environ
        self._substitute: Sink | None = None
        self._channels: dict[Signal, Any] = {}
        self._failing = False
        self._not_before = 0.0
        process.on_child(self._forget)

    def send(self, signal: Signal, payload: bytes, items: int, deadline: float) -> tuple[Outcome, int]:
        """See `Sink.send`."""
        if self._substitute is None and originals.is_green():
            self._substitute = self._instead()
            notices.say(
                "warning",
                "OTLP over gRPC blocks a process with green threads; sending over HTTP to "
                f"{self._substitute.describe()}; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf to be rid of this line",
            )
        if self._substitute is not None:
            return self._substitute.send(signal, payload, items, deadline)
        if monotonic() < self._not_before and worker.cutoff() == worker.NEVER:
            return Outcome.RETRY, 0
        token = context.attach(context.set_value(UNTRACED, True))
        try:
            return self._call(signal, payload, items, deadline)
        except Exception as error:
            return self._failed(f"{type(error).__name__}: {error}", retry=False)
        finally:
            context.detach(token)

    def close(self) -> None:
        """Close the channels."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.close()
        if self._substitute is not None:
            self._substitute.close()

    def describe(self) -> str:
        """See `Sink.describe`."""
        urls = sorted({self._setting(signal, "ENDPOINT") or DEFAULT for signal in METHODS})
        return ", ".join(f"{url} (gRPC)" for url in urls)

    def _call(self, signal: Signal, payload: bytes, items: int, deadline: float) -> tuple[Outcome, int]:
        channel = self._channels.get(signal)
        if channel is None:
            channel = self._channels[signal] = self._open(signal)
        end = min(deadline, monotonic() + float(self._setting(signal, "TIMEOUT") or 10))
        call = channel.unary_unary(METHODS[signal]).future(
            payload, timeout=max(0.0, end - monotonic()), metadata=self._metadata(signal)
        )
        while not call.done():
            if monotonic() >= min(end, worker.cutoff()):
                call.cancel()
                return self._failed("no answer in time", retry=True)
            originals.sleep(SLICE / 10)
        code = call.code()
        if code.name != "OK":
            text = " ".join((call.details() or "").split())[:WORDS_OF_OTHERS]
            return self._failed(f"{code.name} {text}", retry=code.name in RETRYABLE)
        if self._failing:
            self._failing = False
            notices.say("info", f"export to {self.describe()} works again")
        count, _ = partial.rejected(call.result(), "protobuf")
        return Outcome.DELIVERED, min(count, items)

    def _failed(self, reason: str, *, retry: bool) -> tuple[Outcome, int]:
        if not self._failing:
            self._failing = True
            notices.say("warning", f"export to {self.describe()} fails: {reason}")
        self._not_before = monotonic() + (PAUSE if retry else 0.0)
        return (Outcome.RETRY if retry else Outcome.REJECTED), 0

    def _open(self, signal: Signal) -> Any:
        import grpc

        url = self._setting(signal, "ENDPOINT") or DEFAULT
        scheme, separator, rest = url.partition("://")
        target = (rest if separator else url).partition("/")[0]
        insecure = scheme == "http" if separator else self._setting(signal, "INSECURE").lower() == "true"
        packing = grpc.Compression.Gzip if self._setting(signal, "COMPRESSION") == "gzip" else None
        if insecure:
            return grpc.insecure_channel(target, compression=packing)
        files = [self._setting(signal, name) for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")]
        credentials = grpc.ssl_channel_credentials(*(_content(name) if name else None for name in files))
        return grpc.secure_channel(target, credentials, compression=packing)

    def _metadata(self, signal: Signal) -> tuple[tuple[str, str], ...]:
        return tuple(endpoints.headers(signal, self._environ, []).items())

    def _setting(self, signal: Signal, name: str) -> str:
        return endpoints.setting(signal, name, self._environ)[0]

    def _forget(self) -> None:
        self._channels = {}
        self._failing, self._not_before = False, 0.0


def _content(name: str) -> bytes:
    with open(name, "rb") as file:
        return file.read()
