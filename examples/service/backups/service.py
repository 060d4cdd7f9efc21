# SPDX-License-Identifier: Apache-2.0
"""The process: API, worker and periodic task in one service of oslo.service, on native threads."""

from __future__ import annotations

import logging
import os
import threading

import oslo_messaging
from oslo_service import service
from werkzeug.serving import WSGIRequestHandler, make_server

from backups import api, db, rpc
from backups.config import CONF
from backups.worker import Worker

ADDRESS = "address"

LOG = logging.getLogger(__name__)


class Handler(WSGIRequestHandler):
    """Writes no line a request."""

    def log(self, kind, message, *args):
        """Leave requests to the log of the service."""


class Backups(service.Service):
    """Everything in one process, so that messages need no broker: `transport_url` is fake:// by default."""

    def start(self):
        """Begin to serve; the last step says where."""
        db.prepare()
        transport = oslo_messaging.get_rpc_transport(CONF)
        self._worker = Worker()
        self._rpc = rpc.server(transport, self._worker)
        self._rpc.start()
        application = api.application(rpc.Worker(transport))
        self._api = make_server(CONF.listen, CONF.port, application, threaded=True, request_handler=Handler)
        self._serving = threading.Thread(target=self._api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._serving.start()
        self.tg.add_timer(CONF.expire_interval, self._worker.run_due)
        tell_address(f"http://{CONF.listen}:{self._api.server_port}")

    def stop(self, graceful=False):
        """End what `start` began, in the reverse order."""
        self._api.shutdown()
        self._api.server_close()
        self._rpc.stop()
        self._rpc.wait()
        self._worker.close()
        super().stop(graceful)


def tell_address(url):
    """Write where the API is into a file, whole: whoever waits for it may read it at once."""
    path = os.path.join(CONF.state_path, ADDRESS)
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        stream.write(url)
    os.replace(f"{path}.new", path)
    LOG.info("the API is at %s", url)


def main():
    """Run until SIGTERM."""
    launcher = service.launch(CONF, Backups(), workers=1)
    launcher.wait()
