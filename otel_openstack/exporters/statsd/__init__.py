# SPDX-License-Identifier: Apache-2.0
"""statsd without a collector: the mapping of `collector/exporter/statsdexporter`, line for line, in Python.

Both are tested with the cases in its `testdata/cases.json`; its README says what becomes of a metric.
"""
