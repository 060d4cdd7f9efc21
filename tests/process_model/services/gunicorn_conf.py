# SPDX-License-Identifier: Apache-2.0
"""gunicorn's configuration file is where the distribution is switched on without the launcher."""

import telemetry

telemetry.start()
