# SPDX-License-Identifier: Apache-2.0
"""What Python imports at its start in a service under the launcher, in the place of the launcher's own file."""

from otel_openstack import launched

launched.start()
