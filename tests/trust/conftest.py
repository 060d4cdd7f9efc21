# SPDX-License-Identifier: Apache-2.0
"""WebOb imports `cgi`, deprecated on Python 3.11: imported here once with the warning off, all others stay errors."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import webob  # noqa: F401
