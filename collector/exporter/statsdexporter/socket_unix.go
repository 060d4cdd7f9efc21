// SPDX-License-Identifier: Apache-2.0

//go:build unix

package statsdexporter

import (
	"net"
	"syscall"
)

// closedByPeer looks without waiting whether the other end was closed: the first write after it would succeed and be lost.
func closedByPeer(conn net.Conn) bool {
	closed := false
	onSocket(conn, func(fd int) {
		var spare [1]byte
		n, _, err := syscall.Recvfrom(fd, spare[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return closed
}

// pendingError takes the error that an earlier datagram came back with.
func pendingError(conn net.Conn) error {
	var pending error
	onSocket(conn, func(fd int) {
		if number, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err == nil && number != 0 {
			pending = syscall.Errno(number)
		}
	})
	return pending
}

func onSocket(conn net.Conn, do func(fd int)) {
	if socket, ok := conn.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { do(int(fd)) })
		}
	}
}
