# SPDX-License-Identifier: Apache-2.0
"""Write the dashboards and the rules from the registry.

python deploy/generate.py           writes deploy/grafana/ and deploy/prometheus/
python deploy/generate.py --check   writes nothing; exits with 1 and a diff where a file differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import grafana
import rules
from dashboards import api, database, host, pools, rpc, runtime, telemetry
from names import ROOT, Names, UnknownNameError, generator

DASHBOARDS = tuple(module.DASHBOARD for module in (api, rpc, database, runtime, pools, host, telemetry))
# Metrics of the registry that no dashboard shows, with the reason.
# Only where an option, a logging.conf or rules of notifications ask for it; the end of a process says what it lost.
STATSD, LOGGED, RULES = (
    "only with statsd from the process",
    "only with METRIC logging",
    "only with rules of notifications",
)
NOT_SHOWN: dict[str, str] = {
    "otel_openstack.statsd.lines.sent": STATSD,
    "otel_openstack.statsd.lines.dropped": STATSD,
    "otel_openstack.statsd.points.dropped": STATSD,
    "otel_openstack.metric_log.sent": LOGGED,
    "otel_openstack.metric_log.dropped": LOGGED,
    "otel_openstack.notification.rule.results": RULES,
    "otel_openstack.notification.pairs": RULES,
}


def files(names: Names) -> dict[str, str]:
    """Return the text of every generated file by its name under deploy/."""
    made = {
        f"grafana/{board.uid.removeprefix('otel-openstack-')}.json": grafana.render(board, names)
        for board in DASHBOARDS
    }
    missing = names.registry.keys() - names.used - NOT_SHOWN.keys()
    if missing:
        raise UnknownNameError(f"on no dashboard, and NOT_SHOWN gives no reason: {', '.join(sorted(missing))}")
    needless = NOT_SHOWN.keys() & names.used | NOT_SHOWN.keys() - names.registry.keys()
    if needless:
        raise UnknownNameError(f"NOT_SHOWN names what is shown or does not exist: {', '.join(sorted(needless))}")
    return made | rules.files(names)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 where a file differs")
    parser.add_argument("--registry", type=Path, default=ROOT / "registry", help="directory of the registry")
    parser.add_argument("--root", type=Path, default=ROOT / "deploy", help="directory to write under")
    options = parser.parse_args(arguments)
    try:
        made = files(Names(options.registry))
    except (UnknownNameError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    differences = generator().put(made, options.root, check=options.check)
    print(differences, end="")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
