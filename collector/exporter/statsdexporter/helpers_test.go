// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/openstack/otel-openstack/collector/exporter/statsdexporter/internal/metadata"
)

// began is when the exporter of a test is taken to have started.
var began = time.Unix(1000, 0)

func stamp(seconds float64) pcommon.Timestamp { return pcommon.Timestamp(seconds * 1e9) }

func testConfig(changes ...func(*Config)) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoint = "127.0.0.1:8125"
	for _, change := range changes {
		change(cfg)
	}
	return cfg
}

// bench is an exporter without its goroutines and its network: points in, lines out.
type bench struct {
	*statsdExporter
	t     testing.TB
	clock time.Time
	told  []collision
}

func newBench(t testing.TB, changes ...func(*Config)) *bench {
	cfg := testConfig(changes...)
	require.NoError(t, cfg.Validate())
	e, err := newExporter(cfg, exportertest.NewNopSettings(metadata.Type))
	require.NoError(t, err)
	b := &bench{statsdExporter: e, t: t, clock: began}
	e.aggregator.tell = func(c collision) { b.told = append(b.told, c) }
	e.aggregator.begin(began)
	return b
}

func (b *bench) consume(batch pmetric.Metrics) { b.aggregator.consume(batch, b.clock) }

// lines flushes and returns what would have been sent.
func (b *bench) lines() []string {
	var all []string
	for _, p := range b.packets() {
		all = append(all, strings.Split(strings.TrimSuffix(p, "\n"), "\n")...)
	}
	return all
}

func (b *bench) packets() []string {
	b.aggregator.sweep(b.clock)
	for _, s := range b.aggregator.catalog.order {
		b.encoder.encode(s)
	}
	b.encoder.packets.finish()
	var all []string
	for _, one := range b.encoder.packets.full {
		all = append(all, string(b.encoder.packets.payload(one)))
	}
	b.encoder.packets.reset()
	return all
}

func (b *bench) dropped(why reason) int64 { return b.stats.pointsDropped[why].Load() }

// batch starts a resource of service nova-api whose instance is the given one.
func batch(instance string) (pmetric.Metrics, pmetric.MetricSlice) {
	metrics := pmetric.NewMetrics()
	resource := metrics.ResourceMetrics().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "nova-api")
	if instance != "" {
		resource.Resource().Attributes().PutStr("service.instance.id", instance)
	}
	return metrics, resource.ScopeMetrics().AppendEmpty().Metrics()
}

type point struct {
	value       any
	start, time float64
	attributes  map[string]any
}

func (p point) put(into pmetric.NumberDataPoint) {
	switch value := p.value.(type) {
	case int:
		into.SetIntValue(int64(value))
	case int64:
		into.SetIntValue(value)
	case float64:
		into.SetDoubleValue(value)
	}
	into.SetStartTimestamp(stamp(p.start))
	into.SetTimestamp(stamp(p.time))
	if err := into.Attributes().FromRaw(p.attributes); err != nil {
		panic(err)
	}
}

func sum(name string, monotonic bool, temporality pmetric.AggregationTemporality, instance string, points ...point) pmetric.Metrics {
	metrics, into := batch(instance)
	m := into.AppendEmpty()
	m.SetName(name)
	s := m.SetEmptySum()
	s.SetIsMonotonic(monotonic)
	s.SetAggregationTemporality(temporality)
	for _, p := range points {
		p.put(s.DataPoints().AppendEmpty())
	}
	return metrics
}

func counter(instance string, points ...point) pmetric.Metrics {
	return sum("requests", true, pmetric.AggregationTemporalityCumulative, instance, points...)
}

func updown(instance string, points ...point) pmetric.Metrics {
	return sum("active", false, pmetric.AggregationTemporalityCumulative, instance, points...)
}

func gauge(name, instance string, points ...point) pmetric.Metrics {
	metrics, into := batch(instance)
	m := into.AppendEmpty()
	m.SetName(name)
	g := m.SetEmptyGauge()
	for _, p := range points {
		p.put(g.DataPoints().AppendEmpty())
	}
	return metrics
}

// uuid makes instance ids that stand for processes.
func uuid(n int) string {
	return "6f1f64a5-2c1b-4b51-9d3f-" + strings.Repeat("0", 9) + string(rune('0'+n/100%10)) + string(rune('0'+n/10%10)) + string(rune('0'+n%10))
}

// running starts an exporter through its factory, as the collector does.
func running(t *testing.T, endpoint string, changes ...func(*Config)) (*statsdExporter, func()) {
	cfg := testConfig(append([]func(*Config){func(c *Config) {
		c.Endpoint = endpoint
		c.FlushInterval = 20 * time.Millisecond
		c.WriteTimeout = 300 * time.Millisecond
		c.Reconnect = ReconnectConfig{InitialInterval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond}
	}}, changes...)...)
	require.NoError(t, cfg.Validate())
	e, err := newExporter(cfg, exportertest.NewNopSettings(metadata.Type))
	require.NoError(t, err)
	require.NoError(t, e.start(context.Background(), nil))
	return e, func() { require.NoError(t, e.shutdown(context.Background())) }
}

func listenUDP(t *testing.T, address string) *net.UDPConn {
	at, err := net.ResolveUDPAddr("udp", address)
	require.NoError(t, err)
	conn, err := net.ListenUDP("udp", at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// receive reads datagrams until one contains the text.
func receive(t *testing.T, conn net.PacketConn, text string) string {
	buffer := make([]byte, 65536)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	for {
		n, _, err := conn.ReadFrom(buffer)
		require.NoError(t, err)
		if strings.Contains(string(buffer[:n]), text) {
			return string(buffer[:n])
		}
	}
}
