# SPDX-License-Identifier: Apache-2.0
"""One transport with servers and clients on it, as a service would set them up; everything is stopped by `close`."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any


class Bus:
    """RPC and notifications over one URL and one exchange."""

    def __init__(self, url: str, exchange: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries' own imports
            import oslo_messaging
            from oslo_config import cfg

        self.om = oslo_messaging
        # The global one: oslo.messaging registers the options of its metrics and tracing on no other.
        self.conf = cfg.CONF
        self.conf([])
        self.transport = oslo_messaging.get_rpc_transport(self.conf, url)
        self.notifications = oslo_messaging.get_notification_transport(self.conf, url)
        self.exchange = exchange
        self._cleanup = contextlib.ExitStack()
        self._cleanup.callback(self.transport.cleanup)
        self._cleanup.callback(self.notifications.cleanup)

    def serve(
        self, topic: str, *endpoints: Any, server: str = "host1", workers: int = 4, serializer: Any = None
    ) -> Any:
        target = self.om.Target(exchange=self.exchange, topic=topic, server=server)
        made = self.om.get_rpc_server(self.transport, target, list(endpoints), serializer=serializer)
        self._start(made, workers)
        return made

    def listen(self, topic: str, *endpoints: Any, batch: int = 0) -> Any:
        targets = [self.om.Target(exchange=self.exchange, topic=topic)]
        if batch:
            made = self.om.get_batch_notification_listener(
                self.notifications, targets, list(endpoints), batch_size=batch, batch_timeout=2
            )
        else:
            made = self.om.get_notification_listener(self.notifications, targets, list(endpoints))
        self._start(made, 2)
        return made

    def _start(self, server: Any, workers: int) -> None:
        server.start(override_pool_size=workers)
        self._cleanup.callback(server.wait)
        self._cleanup.callback(server.stop)

    def client(self, topic: str, serializer: Any = None, **prepared: Any) -> Any:
        target = self.om.Target(exchange=self.exchange, topic=topic)
        made = self.om.get_rpc_client(self.transport, target, serializer=serializer, timeout=10)
        return made.prepare(**prepared) if prepared else made

    def notifier(self, topic: str) -> Any:
        return self.om.Notifier(
            _OnExchange(self.notifications, self.exchange),
            driver="messagingv2",
            topics=[topic],
            publisher_id="nova.host1",
        )

    def close(self) -> None:
        self._cleanup.close()


class _OnExchange:
    """A notification transport on the exchange of one test: notifiers know no exchange but the configured one."""

    def __init__(self, transport: Any, exchange: str) -> None:
        self._transport = transport
        self._exchange = exchange
        self.conf = transport.conf

    def _send_notification(self, target: Any, *args: Any, **kwargs: Any) -> None:
        self._transport._send_notification(target(exchange=self._exchange), *args, **kwargs)
