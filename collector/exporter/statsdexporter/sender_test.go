// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func requests(n int) (value func() int) {
	at := 0
	return func() int { at += n; return at }
}

func total1(counts *[reasons]atomic.Int64) (sum int64) {
	for i := range counts {
		sum += counts[i].Load()
	}
	return sum
}

func eventually(t *testing.T, holds func() bool, what string) {
	require.Eventually(t, holds, 15*time.Second, 5*time.Millisecond, what)
}

func TestUDPToUnixToTCP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "statsd")
	unix, err := net.ListenPacket("unixgram", path)
	require.NoError(t, err)
	defer unix.Close()
	udp := listenUDP(t, "127.0.0.1:0")
	for transport, conn := range map[string]net.PacketConn{transportUDP: udp, transportUnixgram: unix} {
		e, stop := running(t, conn.LocalAddr().String(), func(c *Config) { c.Transport = transport })
		e.aggregator.consume(counter(uuid(1), point{value: 3, start: 9e9}), time.Now())
		assert.Equal(t, "nova-api.requests:3|c", receive(t, conn, "requests"))
		stop()
		assert.EqualValues(t, 1, e.stats.linesSent.Load(), transport)
		assert.Zero(t, total1(&e.stats.linesDropped))
	}
}

func TestTCPEndsEachLine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	e, stop := running(t, listener.Addr().String(), func(c *Config) { c.Transport = transportTCP })
	e.aggregator.consume(counter(uuid(1), point{value: 3, start: 9e9}), time.Now())
	e.aggregator.consume(updown(uuid(1), point{value: 4}), time.Now())
	conn, err := listener.Accept()
	require.NoError(t, err)
	lines := bufio.NewReader(conn)
	for _, want := range []string{"nova-api.requests:3|c\n", "nova-api.active:4|g\n"} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want, line)
	}
	stop()
	_ = conn.Close()
}

func TestADaemonThatIsDownIsCountedAndFoundAgain(t *testing.T) {
	udp := listenUDP(t, "127.0.0.1:0")
	address := udp.LocalAddr().String()
	require.NoError(t, udp.Close())
	e, stop := running(t, address)
	next := requests(1)
	send := func() { e.aggregator.consume(counter(uuid(1), point{value: next(), start: 9e9}), time.Now()) }
	send()
	eventually(t, func() bool { return e.stats.linesDropped[reasonRefused].Load() == 1 }, "refused")
	assert.Zero(t, e.stats.linesSent.Load(), "nothing counts as sent that was refused")
	again := listenUDP(t, address)
	send()
	receive(t, again, "requests:1|c")
	stop()
	assert.EqualValues(t, 1, e.stats.linesSent.Load())
	assert.EqualValues(t, 1, e.stats.linesDropped[reasonRefused].Load())
}

func TestNoPacketToADaemonThatIsDownCountsAsSent(t *testing.T) {
	udp := listenUDP(t, "127.0.0.1:0")
	require.NoError(t, udp.Close())
	e, stop := running(t, udp.LocalAddr().String(), func(c *Config) { c.MaxPacketSize = 64 })
	for i := range 20 {
		e.aggregator.consume(sum(fmt.Sprint("a.metric.with.a.name.", i), true, 1, uuid(1), point{value: 1}), time.Now())
	}
	eventually(t, func() bool { return e.stats.linesDropped[reasonRefused].Load() == 20 }, "all refused")
	stop()
	assert.Zero(t, e.stats.linesSent.Load())
	assert.Zero(t, e.stats.bytesSent.Load())
}

func TestAUnixSocketThatIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "statsd")
	e, stop := running(t, path, func(c *Config) { c.Transport = transportUnixgram })
	next := requests(1)
	send := func() { e.aggregator.consume(counter(uuid(1), point{value: next(), start: 9e9}), time.Now()) }
	send()
	eventually(t, func() bool { return e.stats.linesDropped[reasonUnreachable].Load() == 1 }, "no socket")
	for range 2 {
		conn, err := net.ListenPacket("unixgram", path)
		require.NoError(t, err)
		eventually(t, func() bool {
			send()
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			n, _, _ := conn.ReadFrom(make([]byte, 2000))
			return n > 0
		}, "found again")
		require.NoError(t, conn.Close())
		_ = os.Remove(path)
		send()
	}
	eventually(t, func() bool {
		return e.stats.linesDropped[reasonRefused].Load()+e.stats.linesDropped[reasonUnreachable].Load() > 1
	}, "refused")
	stop()
}

func TestAUnixSocketThatNobodyReadsHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "statsd")
	conn, err := net.ListenPacket("unixgram", path)
	require.NoError(t, err)
	defer conn.Close()
	e, stop := running(t, path, func(c *Config) {
		c.Transport, c.WriteTimeout, c.RateLimit = transportUnixgram, 20*time.Millisecond, RateLimitConfig{}
	})
	value := requests(1)
	eventually(t, func() bool {
		e.aggregator.consume(counter(uuid(1), point{value: value(), start: 9e9}), time.Now())
		return e.stats.linesDropped[reasonTimeout].Load() > 0
	}, "its queue is full")
	stop()
}

func TestATCPPeerThatNeitherReadsNorCloses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	e, stop := running(t, listener.Addr().String(), func(c *Config) {
		c.Transport, c.WriteTimeout, c.RateLimit = transportTCP, 50*time.Millisecond, RateLimitConfig{}
		c.MaxPacketSize = 60_000
	})
	for i := range 20_000 {
		e.aggregator.consume(gauge(fmt.Sprint("gauge.", strings.Repeat("x", 200), i), uuid(1), point{value: 1}), time.Now())
	}
	eventually(t, func() bool { return e.stats.linesDropped[reasonTimeout].Load() > 0 }, "its buffers are full")
	began := time.Now()
	e.aggregator.consume(gauge("g", uuid(1), point{value: 1}), time.Now())
	assert.Less(t, time.Since(began), 5*time.Second)
	stop()
}

func TestATCPDaemonThatIsRestarted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	e, stop := running(t, address, func(c *Config) { c.Transport = transportTCP })
	next := requests(1)
	send := func() { e.aggregator.consume(counter(uuid(1), point{value: next(), start: 9e9}), time.Now()) }
	accept := func() net.Conn {
		conn, err := listener.Accept()
		require.NoError(t, err)
		_, err = bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		return conn
	}
	send()
	first := accept()
	require.NoError(t, first.Close())
	require.NoError(t, listener.Close())
	send()
	eventually(t, func() bool { return e.stats.linesDropped[reasonUnreachable].Load() > 0 }, "down")
	dropped := e.stats.linesDropped[reasonUnreachable].Load()
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for range 100 {
			send()
			time.Sleep(5 * time.Millisecond)
		}
	}()
	second := accept()
	stop()
	_, _ = io.Copy(io.Discard, second)
	require.NoError(t, second.Close())
	assert.GreaterOrEqual(t, e.stats.connections.Load(), int64(2))
	assert.GreaterOrEqual(t, e.stats.linesDropped[reasonUnreachable].Load(), dropped)
}

func TestEverythingEncodedIsSentOrDropped(t *testing.T) {
	udp := listenUDP(t, "127.0.0.1:0")
	address := udp.LocalAddr().String()
	e, stop := running(t, address, func(c *Config) { c.MaxPacketSize, c.RateLimit = 64, RateLimitConfig{} })
	for i := range 300 {
		if i == 100 {
			require.NoError(t, udp.Close())
		}
		if i == 200 {
			udp = listenUDP(t, address)
		}
		e.aggregator.consume(sum("n", true, 1, uuid(1), point{value: 1, attributes: map[string]any{"i": i}}), time.Now())
		time.Sleep(time.Millisecond / 2)
	}
	stop()
	assert.EqualValues(t, 300, e.stats.linesSent.Load()+total1(&e.stats.linesDropped))
	assert.Positive(t, e.stats.linesSent.Load())
	assert.Positive(t, e.stats.linesDropped[reasonRefused].Load())
}

func TestTheRateLimitHolds(t *testing.T) {
	udp := listenUDP(t, "127.0.0.1:0")
	require.NoError(t, udp.SetReadBuffer(1<<22))
	e, stop := running(t, udp.LocalAddr().String(), func(c *Config) {
		c.MaxPacketSize, c.RateLimit = 64, RateLimitConfig{PacketsPerSecond: 200}
	})
	for i := range 150 {
		e.aggregator.consume(sum(fmt.Sprint("a.metric.with.a.long.name.", i), true, 1, uuid(1), point{value: 1}), time.Now())
	}
	began := time.Now()
	eventually(t, func() bool { return e.stats.packetsSent.Load() >= 149 }, "all sent")
	// The bucket holds a fiftieth of a second's worth.
	assert.Greater(t, time.Since(began), 650*time.Millisecond)
	stop()
	assert.EqualValues(t, 150, e.stats.linesSent.Load())
	assert.Zero(t, total1(&e.stats.linesDropped), "what the limit holds back is late, not lost")
}

func TestBytesAreLimitedToo(t *testing.T) {
	limiter := newLimiter(RateLimitConfig{BytesPerSecond: 1000}, 100)
	began := time.Now()
	for range 4 {
		assert.True(t, limiter.wait(context.Background(), 100))
	}
	assert.Greater(t, time.Since(began), 250*time.Millisecond)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	assert.False(t, limiter.wait(ended, 100))
}

func TestTheEndIsBounded(t *testing.T) {
	udp := listenUDP(t, "127.0.0.1:0")
	e, stop := running(t, udp.LocalAddr().String(), func(c *Config) {
		c.MaxPacketSize, c.FlushInterval, c.RateLimit = 64, time.Hour, RateLimitConfig{PacketsPerSecond: 10}
		c.Staleness = time.Hour
	})
	for i := range 1000 {
		e.aggregator.consume(sum(fmt.Sprint("a.metric.with.a.long.name.", i), true, 1, uuid(1), point{value: 1}), time.Now())
	}
	began := time.Now()
	stop()
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.EqualValues(t, 1000, e.stats.linesSent.Load()+e.stats.linesDropped[reasonShutdown].Load())
}

func TestANameThatMoves(t *testing.T) {
	first, second := listenUDP(t, "127.0.0.1:0"), (*net.UDPConn)(nil)
	_, port, _ := net.SplitHostPort(first.LocalAddr().String())
	second = listenUDP(t, "127.0.0.2:"+port)
	var now atomic.Value
	now.Store("127.0.0.1")
	cfg := testConfig(func(c *Config) {
		c.Endpoint, c.ResolveInterval = "statsd.example:"+port, 30*time.Millisecond
	})
	target := newTarget(cfg, func(error, bool) {})
	target.lookup = func(context.Context, string) ([]string, error) {
		if now.Load() == "" {
			return nil, errors.New("no answer")
		}
		return []string{now.Load().(string)}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); target.run(ctx) }()
	sender := newSender(cfg, target, &stats{}, func(error) {})
	defer sender.disconnect()
	eventually(t, func() bool { return target.address() != "" }, "resolved")
	sender.send(ctx, []byte("a:1|c"), 1)
	receive(t, first, "a:1|c")
	now.Store("") // a resolver that fails changes nothing
	time.Sleep(100 * time.Millisecond)
	sender.send(ctx, []byte("b:1|c"), 1)
	receive(t, first, "b:1|c")
	now.Store("127.0.0.2")
	eventually(t, func() bool { return target.address() == "127.0.0.2:"+port }, "moved")
	sender.send(ctx, []byte("c:1|c"), 1)
	receive(t, second, "c:1|c")
	cancel()
	<-done
}

func TestOfSeveralAddressesTheNextIsTried(t *testing.T) {
	target := newTarget(testConfig(func(c *Config) { c.Endpoint = "localhost:8125" }), func(error, bool) {})
	assert.Empty(t, target.address())
	target.learn([]string{"::1", "127.0.0.1"})
	assert.Equal(t, "127.0.0.1:8125", target.address(), "most daemons listen there only")
	target.doubt("127.0.0.1:8125")
	assert.Equal(t, "[::1]:8125", target.address())
	target.doubt("127.0.0.1:8125")
	assert.Equal(t, "[::1]:8125", target.address(), "the one in use was not meant")
	target.learn([]string{"127.0.0.1", "::1"})
	assert.Equal(t, "[::1]:8125", target.address(), "it is kept as long as the name has it")
}

func TestANameThatDoesNotResolveIsToldOnce(t *testing.T) {
	var told, failures int
	target := newTarget(testConfig(func(c *Config) { c.Endpoint = "statsd.example:8125" }), func(_ error, first bool) {
		failures++
		told += int(boolToCount(first))
	})
	answer := []string(nil)
	target.lookup = func(context.Context, string) ([]string, error) {
		if answer == nil {
			return nil, errors.New("no such host")
		}
		return answer, nil
	}
	for range 3 {
		assert.False(t, target.resolve(t.Context()))
	}
	assert.Equal(t, []int{1, 3}, []int{told, failures})
	answer = []string{"127.0.0.1"}
	assert.True(t, target.resolve(t.Context()))
	answer = nil
	assert.False(t, target.resolve(t.Context()))
	assert.Equal(t, 2, told)
	assert.Equal(t, "127.0.0.1:8125", target.address(), "what was known stays in use")
}
