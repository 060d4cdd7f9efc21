# SPDX-License-Identifier: Apache-2.0
"""One process: import order, fork, green threads, uWSGI, exit, and the thread that exports."""
