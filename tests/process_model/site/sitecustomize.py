# SPDX-License-Identifier: Apache-2.0
"""Stands for the launcher's sitecustomize: runs wherever the interpreter starts, so in uWSGI's master too."""

import telemetry

telemetry.start()
