# SPDX-License-Identifier: Apache-2.0
"""A real MariaDB of a test session, on a free port of the loopback, ended by its own pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60


@dataclass
class MariaDB:
    """A server that can be stopped and started again in the middle of a test."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", f"--user={pwd.getpwuid(os.getuid()).pw_name}"),
                    *(f"--datadir={self.directory / 'data'}", "--bind-address=127.0.0.1", f"--port={self.port}"),
                    *(f"--socket={self.directory / 'sock'}", f"--pid-file={self.directory / 'pid'}"),
                    *("--innodb-buffer-pool-size=32M", "--skip-log-bin", "--skip-grant-tables"),
                ],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError("MariaDB did not start: " + (self.directory / "log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS)
            self.process = None

    def execute(self, *statements: str) -> None:
        import pymysql

        with contextlib.closing(pymysql.connect(host="127.0.0.1", port=self.port, user="root")) as connection:
            for statement in statements:
                connection.cursor().execute(statement)
            connection.commit()


@contextlib.contextmanager
def mariadb(directory: Path) -> Iterator[MariaDB]:
    """Start a new server with an empty data directory; it is stopped at the end."""
    assert shutil.which("mariadbd"), "mariadbd is missing: make test installs mariadb-server"
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={directory / 'data'}",
            "--skip-test-db",
            f"--user={pwd.getpwuid(os.getuid()).pw_name}",
        ],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = MariaDB(directory, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
