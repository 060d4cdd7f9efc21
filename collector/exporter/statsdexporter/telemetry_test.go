// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/openstack/otel-openstack/collector/exporter/statsdexporter/internal/metadata"
)

type described struct {
	Telemetry struct {
		Metrics map[string]struct {
			Description string         `mapstructure:"description"`
			Unit        string         `mapstructure:"unit"`
			Stability   string         `mapstructure:"stability"`
			Enabled     bool           `mapstructure:"enabled"`
			Sum         map[string]any `mapstructure:"sum"`
			Gauge       map[string]any `mapstructure:"gauge"`
			Attributes  []string       `mapstructure:"attributes"`
		} `mapstructure:"metrics"`
	} `mapstructure:"telemetry"`
	Attributes map[string]struct {
		Description string   `mapstructure:"description"`
		Type        string   `mapstructure:"type"`
		Enum        []string `mapstructure:"enum"`
	} `mapstructure:"attributes"`
	Rest map[string]any `mapstructure:",remain"`
}

func TestMetadataDescribesTheTelemetry(t *testing.T) {
	conf, err := confmaptest.LoadConf("metadata.yaml")
	require.NoError(t, err)
	var read described
	require.NoError(t, conf.Unmarshal(&read))
	assert.Len(t, read.Telemetry.Metrics, len(metadata.Instruments))
	for _, i := range metadata.Instruments {
		row, found := read.Telemetry.Metrics[i.Name[len("otelcol_"):]]
		require.True(t, found, i.Name)
		assert.Equal(t, row.Description+" [Development]", i.Description)
		assert.Equal(t, row.Unit, i.Unit)
		assert.Equal(t, row.Gauge != nil, i.Gauge)
	}
	assert.ElementsMatch(t, reasonNames[:], read.Attributes["reason"].Enum)
}

func TestTheExportersOwnNumbersAreReported(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
	set := exportertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	udp := listenUDP(t, "127.0.0.1:0")
	e, err := newExporter(testConfig(func(c *Config) { c.Endpoint, c.FlushInterval = udp.LocalAddr().String(), 10*time.Millisecond }), set)
	require.NoError(t, err)
	require.NoError(t, e.start(t.Context(), nil))
	e.aggregator.consume(counter(uuid(1), point{value: 3, start: 9e9}, point{value: -1, attributes: map[string]any{"k": strings.Repeat("v", 201)}}), time.Now())
	receive(t, udp, "requests:3|c")
	want := map[string]int64{
		"otelcol_exporter_statsd_sent_lines": 1, "otelcol_exporter_statsd_sent_packets": 1,
		"otelcol_exporter_statsd_sent_bytes": 21, "otelcol_exporter_statsd_dropped_points": 1,
		"otelcol_exporter_statsd_truncated_values": 1, "otelcol_exporter_statsd_errors": 0, "otelcol_exporter_statsd_connections": 1,
		"otelcol_exporter_statsd_streams": 2, "otelcol_exporter_statsd_series": 2,
	}
	eventually(t, func() bool { return e.stats.linesSent.Load() == 1 }, "confirmed")
	for name, value := range want {
		got, err := telemetry.GetMetric(name)
		require.NoError(t, err, name)
		points := pointsOf(got)
		require.Len(t, points, 1, name)
		assert.Equal(t, value, points[0].Value, name)
		id, _ := points[0].Attributes.Value("exporter")
		assert.Equal(t, set.ID.String(), id.AsString())
		if name == "otelcol_exporter_statsd_dropped_points" {
			why, _ := points[0].Attributes.Value("reason")
			assert.Equal(t, "negative", why.AsString())
		}
	}
	require.NoError(t, e.shutdown(t.Context()))
}

func pointsOf(m metricdata.Metrics) []metricdata.DataPoint[int64] {
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		return slices.Clone(data.DataPoints)
	case metricdata.Gauge[int64]:
		return slices.Clone(data.DataPoints)
	default:
		return nil
	}
}
