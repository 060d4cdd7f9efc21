// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"sync/atomic"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/openstack/otel-openstack/collector/exporter/statsdexporter/internal/metadata"
)

// observations reads the exporter's own numbers. Reasons that never occurred are left out.
func (e *statsdExporter) observations() []metadata.Observation {
	s, streams, series := e.stats, 0, 0
	e.aggregator.mu.Lock()
	streams, series = e.aggregator.streams, len(e.aggregator.catalog.order)
	e.aggregator.mu.Unlock()
	plain := e.withReason("")
	read := []metadata.Observation{
		{Instrument: metadata.SentLines, Value: s.linesSent.Load(), Options: plain},
		{Instrument: metadata.SentPackets, Value: s.packetsSent.Load(), Options: plain},
		{Instrument: metadata.SentBytes, Value: s.bytesSent.Load(), Options: plain},
		{Instrument: metadata.TruncatedValues, Value: s.valuesCut.Load(), Options: plain},
		{Instrument: metadata.Errors, Value: s.errors.Load(), Options: plain},
		{Instrument: metadata.Connections, Value: s.connections.Load(), Options: plain},
		{Instrument: metadata.Collisions, Value: s.collisions.Load(), Options: plain},
		{Instrument: metadata.Streams, Value: int64(streams), Options: plain},
		{Instrument: metadata.Series, Value: int64(series), Options: plain},
	}
	read = e.byReason(read, metadata.DroppedLines, &s.linesDropped)
	return e.byReason(read, metadata.DroppedPoints, &s.pointsDropped)
}

func (e *statsdExporter) byReason(read []metadata.Observation, instrument int, counts *[reasons]atomic.Int64) []metadata.Observation {
	for why := range counts {
		if count := counts[why].Load(); count > 0 {
			read = append(read, metadata.Observation{
				Instrument: instrument, Value: count, Options: e.withReason(reasonNames[why]),
			})
		}
	}
	return read
}

// withReason has the attribute by which exporterhelper's own metrics tell exporters apart.
func (e *statsdExporter) withReason(why string) []metric.ObserveOption {
	attributes := []attribute.KeyValue{attribute.String("exporter", e.id.String())}
	if why != "" {
		attributes = append(attributes, attribute.String("reason", why))
	}
	return []metric.ObserveOption{metric.WithAttributes(attributes...)}
}

func (e *statsdExporter) register(settings component.TelemetrySettings) error {
	registration, err := metadata.Register(settings, e.observations)
	e.registration = registration
	return err
}
