# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/options.md from the table of options; with --check compare instead, and exit 1 if it differs."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from otel_openstack.settings import PREFIX, Settings, _text

PAGE = Path(__file__).parent / "reference" / "options.md"
HEAD = """# Options

Generated from `otel_openstack/settings.py` by `docs/generate.py`.

Each option is an environment variable, a key of the declarative configuration file (`OTEL_CONFIG_FILE`) under
`distribution: otel_openstack:`, and an argument of `opentelemetry-instrument` (`--openstack_level detailed`). The
environment wins over the file. A misspelt option is an error with a suggestion, a bad value is named and the default
used; the service starts in any case. Sizes take K, M and G, times are seconds, lists are separated by commas.

The standard variables of OpenTelemetry (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_*`,
`OTEL_TRACES_SAMPLER`, `OTEL_PROPAGATORS`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SDK_DISABLED`, ...) keep their meaning.
`OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` also take `otlp_file`.

| environment variable | key | default | what it does |
|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    defaults = Settings()
    rows = [
        f"| `{PREFIX}{option.name.upper()}` | `{option.name}` | "
        f"{f'`{text}`' if (text := _text(getattr(defaults, option.name))) else 'none'} | {option.metadata['help']} |"
        for option in fields(Settings)
    ]
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write or compare."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    sys.stderr.write(f"{PAGE.name} is not what docs/generate.py writes: run it and commit the result\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
