// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/openstack/otel-openstack/collector/exporter/statsdexporter/internal/metadata"
)

func load(t *testing.T, name string) *Config {
	all, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := all.Sub(name)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	require.NoError(t, confmap.Validate(cfg))
	return cfg
}

func TestConfigFromYAML(t *testing.T) {
	assert.Equal(t, testConfig(), load(t, "statsd"))
	full := load(t, "statsd/full")
	assert.Equal(t, "{host.name}.{metric}", full.Names.Metrics["http.*"])
	assert.Equal(t, "max", full.Combine["openstack.wsgi.backlog.*"])
	assert.Equal(t, []float64{50, 99.9}, full.Histogram.Percentiles)
	assert.Equal(t, 5*time.Second, full.FlushInterval)
	assert.False(t, full.QueueConfig.HasValue())
}

func TestWhatIsWrongIsNamedByItsKey(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"endpoint: missing":                            func(c *Config) { c.Endpoint = "" },
		`endpoint: "statsd" is not host`:               func(c *Config) { c.Endpoint = "statsd" },
		`endpoint: port "x"`:                           func(c *Config) { c.Endpoint = "statsd:x" },
		`endpoint: port "0"`:                           func(c *Config) { c.Endpoint = "statsd:0" },
		`endpoint: ":8125" has no host`:                func(c *Config) { c.Endpoint = ":8125" },
		"endpoint: \"a\\x00\" is not":                  func(c *Config) { c.Endpoint, c.Transport = "a\x00", transportUnixgram },
		`transport: "sctp" is none of`:                 func(c *Config) { c.Transport = "sctp" },
		`flavor: "Etsy" is none of`:                    func(c *Config) { c.Flavor = "Etsy" },
		`prefix: "a b" must consist`:                   func(c *Config) { c.Prefix = "a b" },
		"max_packet_size: 63 is not":                   func(c *Config) { c.MaxPacketSize = 63 },
		"max_packet_size: 65508 is not":                func(c *Config) { c.MaxPacketSize = 65508 },
		"flush_interval: 0s must be":                   func(c *Config) { c.FlushInterval = 0 },
		"write_timeout: -1s must be":                   func(c *Config) { c.WriteTimeout = -time.Second },
		"resolve_interval: 0s":                         func(c *Config) { c.ResolveInterval = 0 },
		"staleness: 1s is shorter":                     func(c *Config) { c.Staleness = time.Second },
		"max_streams: 0 is not":                        func(c *Config) { c.MaxStreams = 0 },
		"rate_limit::packets_per_second":               func(c *Config) { c.RateLimit.PacketsPerSecond = -1 },
		"rate_limit::bytes_per_second":                 func(c *Config) { c.RateLimit.BytesPerSecond = 100 },
		"reconnect::initial_interval":                  func(c *Config) { c.Reconnect.InitialInterval = 0 },
		"reconnect::max_interval":                      func(c *Config) { c.Reconnect.MaxInterval = 1 },
		"names::missing":                               func(c *Config) { c.Names.Missing = "é" },
		`names::default: "{" has`:                      func(c *Config) { c.Names.Default = "{" },
		`names::metrics::a*: "x}" has`:                 func(c *Config) { c.Names.Metrics = map[string]string{"a*": "x}"} },
		"names::metrics::b: an empty":                  func(c *Config) { c.Names.Metrics = map[string]string{"b": ""} },
		"names::default: \"{attributes}":               func(c *Config) { c.Names.Default, c.Flavor = "{attributes}", flavorGraphite },
		`combine::a: "mean" is none of`:                func(c *Config) { c.Combine = map[string]string{"a": "mean"} },
		"histogram::percentiles[1]: 100":               func(c *Config) { c.Histogram.Percentiles = []float64{50, 100} },
		"histogram::percentiles[0]: NaN":               func(c *Config) { c.Histogram.Percentiles = []float64{math.NaN()} },
		"histogram::percentiles[1]: 50 is there twice": func(c *Config) { c.Histogram.Percentiles = []float64{50, 50} },
		`histogram::type: "d" is none of`:              func(c *Config) { c.Histogram.Type = "d" },
		"histogram::max_samples: 0":                    func(c *Config) { c.Histogram.MaxSamples = 0 },
		"sending_queue::num_consumers: 2":              func(c *Config) { c.QueueConfig.Get().NumConsumers = 2 },
	} {
		assert.ErrorContains(t, confmap.Validate(testConfig(change)), want)
	}
}

func TestTheFactoryMakesAWorkingExporter(t *testing.T) {
	udp := listenUDP(t, "127.0.0.1:0")
	require.NoError(t, componenttest.CheckConfigStruct(createDefaultConfig()))
	cfg := testConfig(func(c *Config) {
		c.Endpoint, c.FlushInterval = udp.LocalAddr().String(), time.Hour
		c.Staleness = time.Hour
	})
	exporter, err := NewFactory().CreateMetrics(t.Context(), exportertest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	require.NoError(t, exporter.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, exporter.ConsumeMetrics(t.Context(),
		sum("requests", true, pmetric.AggregationTemporalityDelta, uuid(1), point{value: 2})))
	require.NoError(t, exporter.Shutdown(t.Context()))
	assert.Equal(t, "nova-api.requests:2|c", receive(t, udp, "requests"), "the queue and the aggregate are emptied at the end")
}

func TestShutdownWithoutStart(t *testing.T) {
	exporter, err := NewFactory().CreateMetrics(t.Context(), exportertest.NewNopSettings(metadata.Type), testConfig())
	require.NoError(t, err)
	require.NoError(t, exporter.Shutdown(t.Context()))
}
