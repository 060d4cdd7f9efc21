# SPDX-License-Identifier: Apache-2.0
"""The options of the service."""

from __future__ import annotations

import os
import socket

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log

OPTIONS = [
    cfg.StrOpt("host", default=socket.gethostname(), help="Name of this worker."),
    cfg.HostAddressOpt("listen", default="127.0.0.1", help="Address that the API listens on."),
    cfg.PortOpt("port", default=0, help="Port of the API; 0 for a free one."),
    cfg.StrOpt("state_path", default=".", help="Where the database is, and the file that says the API's address."),
    cfg.FloatOpt("upload_seconds_per_mib", default=0.002, help="How slow the storage is."),
    cfg.IntOpt("keep_seconds", default=86400, help="How long a backup is kept that does not say so itself."),
    cfg.FloatOpt("expire_interval", default=0.5, help="Seconds between two looks for expired backups."),
]

CONF = cfg.CONF


def read(arguments: list[str]) -> None:
    """Read the configuration, and set up the log."""
    log.register_options(CONF)
    CONF.register_opts(OPTIONS)
    CONF(arguments, project="backups")
    database = os.path.join(os.path.abspath(CONF.state_path), "backups.sqlite")
    db_options.set_defaults(CONF, connection=f"sqlite:///{database}")
    log.setup(CONF, "backups")
