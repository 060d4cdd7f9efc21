// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package statsdexporter

import "net"

// These cannot be known here; a write that fails tells later.
func closedByPeer(net.Conn) bool { return false }

func pendingError(net.Conn) error { return nil }
