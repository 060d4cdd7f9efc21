# SPDX-License-Identifier: Apache-2.0
"""`python -m backups --config-file FILE`: run the service."""

import sys

from backups import config, service

config.read(sys.argv[1:])
service.main()
