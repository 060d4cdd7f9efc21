# SPDX-License-Identifier: Apache-2.0
"""What stands under OpenStack: RabbitMQ, MariaDB and memcached, private to the cloud's directory and loopback only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import processes
from layout import HOST
from progress import Failed, step

if TYPE_CHECKING:
    from layout import Cloud

NAMES = ("rabbitmq", "epmd", "mariadb", "memcached")  # in the order in which they stop
RABBIT = Path("/usr/lib/rabbitmq/bin")  # the package's own scripts; those in /usr/sbin change the user


def start(cloud: Cloud) -> None:
    """Start all three; MariaDB and memcached answer on return, RabbitMQ when `wait_rabbit` returns."""
    _rabbit(cloud)
    _memcached(cloud)
    _mariadb(cloud)


def wait_rabbit(cloud: Cloud) -> None:
    with step("RabbitMQ answers"):
        processes.wait_ready(cloud, "rabbitmq", lambda: listens(cloud.ports["amqp"]), 90)


def restart_rabbit(cloud: Cloud) -> None:
    """Stop RabbitMQ as an operator would, and start it again; it answers on return."""
    processes.stop(cloud, ["rabbitmq"])
    processes.start(cloud, "rabbitmq", [str(RABBIT / "rabbitmq-server")], rabbit_environment(cloud))
    wait_rabbit(cloud)


def restart_mariadb(cloud: Cloud) -> None:
    """The same for MariaDB."""
    processes.stop(cloud, ["mariadb"])
    _mariadb(cloud)


def listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def rabbit_environment(cloud: Cloud) -> dict[str, str]:
    """For the server and for rabbitmqctl."""
    return cloud.environment() | {
        "HOME": str(cloud.state),  # of the Erlang cookie
        "ERL_EPMD_PORT": str(cloud.ports["epmd"]),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": "minicloud@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(cloud.ports["amqp"]),
        "RABBITMQ_DIST_PORT": str(cloud.ports["rabbit_dist"]),
        "RABBITMQ_MNESIA_BASE": f"{cloud.state}/rabbitmq",
        "RABBITMQ_DEFAULT_PASS": cloud.password,  # of the user guest, taken when the node first starts
        "RABBITMQ_LOG_BASE": str(cloud.log),
        "RABBITMQ_LOGS": f"{cloud.log}/rabbitmq-node.log",
        "RABBITMQ_PID_FILE": f"{cloud.state}/rabbitmq.pid",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{cloud.state}/enabled_plugins",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def rabbitmqctl(cloud: Cloud, *arguments: str) -> str:
    """Its output; Failed with its words if it fails."""
    run = subprocess.run(
        [str(RABBIT / "rabbitmqctl"), *arguments],
        env=rabbit_environment(cloud), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if run.returncode:
        raise Failed(f"rabbitmqctl {' '.join(arguments)}: {run.stderr.strip() or run.stdout.strip()}")
    return run.stdout


def _rabbit(cloud: Cloud) -> None:
    epmd = ["epmd", "-port", str(cloud.ports["epmd"]), "-address", HOST]
    processes.start(cloud, "epmd", epmd, cloud.environment())
    processes.wait_ready(cloud, "epmd", lambda: listens(cloud.ports["epmd"]), 20)
    processes.start(cloud, "rabbitmq", [str(RABBIT / "rabbitmq-server")], rabbit_environment(cloud))


def _memcached(cloud: Cloud) -> None:
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = ["memcached", *user, "-l", HOST, "-p", str(cloud.ports["memcached"]), "-m", "64"]
    processes.start(cloud, "memcached", command, cloud.environment())


def _mariadb(cloud: Cloud) -> None:
    data, socket_path = cloud.state / "mysql", _short_socket(cloud)
    user = ["--user=root"] if os.geteuid() == 0 else []
    grants = cloud.state / "grants.sql"
    if not (cloud.state / "mysql.installed").exists():
        with step("MariaDB's own tables"):
            shutil.rmtree(data, ignore_errors=True)
            data.mkdir()
            _run(["mariadb-install-db", "--no-defaults", *user, f"--datadir={data}",
                  "--auth-root-authentication-method=normal", "--skip-test-db"])  # fmt: skip
            (cloud.state / "mysql.installed").touch()
    grants.touch(mode=0o600)
    grants.write_text(_GRANTS.format(password=cloud.password))
    command = [
        "mariadbd", "--no-defaults", *user, f"--datadir={data}", f"--bind-address={HOST}",
        f"--port={cloud.ports['mysql']}", f"--socket={socket_path}", f"--pid-file={cloud.state}/mysql.pid",
        f"--init-file={grants}", "--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=2",
        "--max-connections=400", "--skip-log-bin",
    ]  # fmt: skip
    with step("MariaDB answers"):
        processes.start(cloud, "mariadb", command, cloud.environment())
        processes.wait_ready(cloud, "mariadb", lambda: listens(cloud.ports["mysql"]), 60)


# Run at every start, before the first connection is let in.
_GRANTS = """\
ALTER USER root@localhost IDENTIFIED BY '{password}';
CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS keystone CHARACTER SET utf8;
CREATE DATABASE IF NOT EXISTS placement CHARACTER SET utf8;
CREATE DATABASE IF NOT EXISTS glance CHARACTER SET utf8;
CREATE DATABASE IF NOT EXISTS nova CHARACTER SET utf8;
CREATE DATABASE IF NOT EXISTS nova_api CHARACTER SET utf8;
CREATE DATABASE IF NOT EXISTS nova_cell0 CHARACTER SET utf8;
CREATE DATABASE IF NOT EXISTS neutron CHARACTER SET utf8;
"""


def _short_socket(cloud: Cloud) -> str:
    """A unix socket's path is at most 107 bytes long; we connect by TCP, so a relative path is enough."""
    path = str(cloud.state / "mysql.sock")
    return path if len(path) < 100 else "mysql.sock"


def _run(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise Failed(f"{command[0]} failed ({run.returncode}):\n{(run.stderr or run.stdout)[-2000:]}")
