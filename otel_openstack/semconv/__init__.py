# SPDX-License-Identifier: Apache-2.0
"""Names and properties of what is measured: generated from registry/, except for model.py."""
