# SPDX-License-Identifier: Apache-2.0
"""Importing this module sets the distribution up: for uWSGI, gunicorn and mod_wsgi started without the launcher.

    uwsgi:     import = otel_openstack.auto          (an option of uWSGI; --import on its command line)
    gunicorn:  import otel_openstack.auto            (in the configuration file)
    mod_wsgi:  import otel_openstack.auto            (first line of the WSGI script)

It is the one module of this package whose import has an effect. It has none where the launcher has been before.
"""

import sys

try:
    from otel_openstack import distro
    from otel_openstack.runtime import interpreters

    active = distro.start()
    """Whether this process is measured."""
    if active and "uwsgi" in sys.modules:  # which may import this in its first interpreter alone
        interpreters.look_for_others()
except Exception as error:  # OpenTelemetry's own modules raise at their import where OTEL_PROPAGATORS is misspelt
    active = False
    sys.stderr.write(f"otel-openstack: error: could not start, this process is not measured: {error!r}\n")
