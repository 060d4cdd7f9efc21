// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// sender puts packets on the network, drops what it cannot send, and connects again, at growing intervals, when it has to.
// One goroutine uses it.
type sender struct {
	transport string
	timeout   time.Duration
	reconnect ReconnectConfig
	target    *target
	limiter   *limiter
	stats     *stats
	report    func(error) // of the first failure after a success

	conn      net.Conn
	connected string // the address
	backoff   time.Duration
	retryAt   time.Time
	healthy   bool

	// Of a datagram, whether anybody listened is known when the next one is sent.
	unconfirmed struct{ lines, bytes int }
}

func newSender(cfg *Config, target *target, stats *stats, report func(error)) *sender {
	return &sender{
		transport: cfg.Transport, timeout: cfg.WriteTimeout, reconnect: cfg.Reconnect, target: target,
		limiter: newLimiter(cfg.RateLimit, cfg.MaxPacketSize), stats: stats, report: report, healthy: true,
	}
}

// send waits for the rate limit, and for the peer no longer than the write timeout.
func (s *sender) send(ctx context.Context, payload []byte, lines int) {
	if !s.ready() {
		s.drop(reasonUnreachable, lines)
		return
	}
	if !s.limiter.wait(ctx, len(payload)) {
		s.drop(reasonShutdown, lines)
		return
	}
	err := s.write(payload)
	if err != nil && s.transport != transportTCP && refused(err) {
		// The error is that of the packet before; this one was not sent yet.
		s.lost()
		s.fail(err)
		if s.transport == transportUnixgram && !s.ready() {
			s.drop(reasonRefused, lines)
			return
		}
		err = s.write(payload)
	}
	if err != nil {
		s.drop(reasonOf(err), lines)
		s.fail(err)
		return
	}
	s.confirm()
	s.unconfirmed.lines, s.unconfirmed.bytes = lines, len(payload)
	if s.transport != transportUDP {
		s.confirm()
	}
	s.backoff = 0
}

// ready connects if needed and the time for it has come.
func (s *sender) ready() bool {
	address := s.target.address()
	if s.conn != nil && (address != s.connected || s.transport == transportTCP && closedByPeer(s.conn)) {
		s.disconnect() // the name has moved, or the daemon was restarted
	}
	if s.conn != nil {
		return true
	}
	if address == "" || time.Now().Before(s.retryAt) {
		return false
	}
	conn, err := net.DialTimeout(s.transport, address, s.timeout)
	if err != nil {
		s.fail(err)
		s.wait()
		return false
	}
	s.conn, s.connected = conn, address
	s.stats.connections.Add(1)
	return true
}

func (s *sender) write(payload []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(payload)
	return err
}

// fail counts an error, tells the first of a row, and gives up a connection that is of no more use.
func (s *sender) fail(err error) {
	s.stats.errors.Add(1)
	if s.healthy {
		s.healthy = false
		s.report(err)
	}
	s.target.doubt(s.target.address())
	switch s.transport {
	case transportTCP: // part of a line may have been sent
		if s.conn != nil {
			s.disconnect()
			s.wait()
		}
	case transportUnixgram:
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.EMSGSIZE) {
			s.disconnect()
		}
	}
}

// wait doubles from the first interval to the longest.
func (s *sender) wait() {
	s.backoff = min(max(2*s.backoff, s.reconnect.InitialInterval), s.reconnect.MaxInterval)
	s.retryAt = time.Now().Add(s.backoff)
}

func (s *sender) disconnect() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// confirm counts the packet before as sent: no error came back.
func (s *sender) confirm() {
	if s.unconfirmed.lines == 0 {
		return
	}
	s.stats.linesSent.Add(int64(s.unconfirmed.lines))
	s.stats.bytesSent.Add(int64(s.unconfirmed.bytes))
	s.stats.packetsSent.Add(1)
	s.unconfirmed.lines, s.unconfirmed.bytes = 0, 0
	s.healthy = true
}

func (s *sender) lost() {
	s.drop(reasonRefused, s.unconfirmed.lines)
	s.unconfirmed.lines, s.unconfirmed.bytes = 0, 0
}

// settle asks, at the end of a flush, what became of its last datagram.
func (s *sender) settle() {
	if s.unconfirmed.lines == 0 || s.conn == nil {
		return
	}
	if err := pendingError(s.conn); err != nil {
		s.lost()
		s.fail(err)
		return
	}
	s.confirm()
}

func (s *sender) drop(why reason, lines int) { s.stats.linesDropped[why].Add(int64(lines)) }

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func reasonOf(err error) reason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reasonTimeout
	case refused(err), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reasonRefused
	case errors.Is(err, syscall.EMSGSIZE):
		return reasonTooLong
	default:
		return reasonFailed
	}
}
