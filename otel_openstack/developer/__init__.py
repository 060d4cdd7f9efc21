# SPDX-License-Identifier: Apache-2.0
"""For developers of services: decorators, blocks, instruments by hand, and the registry files that name them.

`otel_openstack` itself offers what is to be used; see docs/developers.md. Importing it imports no SDK.
"""
