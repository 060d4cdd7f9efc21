// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/metric"
)

// Instrument is a row of metadata.yaml's telemetry::metrics; all are read by a callback, so that sending counts in integers only.
type Instrument struct {
	Name        string
	Description string
	Unit        string
	Gauge       bool
}

// Instruments in the order in which Observe is given their values.
var Instruments = []Instrument{
	{"otelcol_exporter_statsd_sent_lines", "Lines handed over to the network and not refused. [Development]", "{line}", false},
	{"otelcol_exporter_statsd_sent_packets", "Packets handed over to the network and not refused. [Development]", "{packet}", false},
	{"otelcol_exporter_statsd_sent_bytes", "Payload handed over to the network and not refused. [Development]", "By", false},
	{"otelcol_exporter_statsd_dropped_lines", "Lines that were not sent, by reason. [Development]", "{line}", false},
	{"otelcol_exporter_statsd_dropped_points", "Data points that became no line, by reason. [Development]", "{datapoint}", false},
	{"otelcol_exporter_statsd_truncated_values", "Values of attributes that were cut for a name or a tag, counted when a stream is named. [Development]", "{value}", false},
	{"otelcol_exporter_statsd_errors", "Errors of connecting, of resolving a name and of sending. [Development]", "{error}", false},
	{"otelcol_exporter_statsd_connections", "Connections made, the first included. [Development]", "{connection}", false},
	{"otelcol_exporter_statsd_collisions", "Pairs of metrics that have one name in statsd. [Development]", "{pair}", false},
	{"otelcol_exporter_statsd_streams", "Streams whose state is held. [Development]", "{stream}", true},
	{"otelcol_exporter_statsd_series", "Names in statsd. [Development]", "{series}", true},
}

// Indexes into Instruments.
const (
	SentLines = iota
	SentPackets
	SentBytes
	DroppedLines
	DroppedPoints
	TruncatedValues
	Errors
	Connections
	Collisions
	Streams
	Series
)

// Observation is one value at the time of reading.
type Observation struct {
	Instrument int
	Value      int64
	Options    []metric.ObserveOption
}

// Register makes the instruments; read is called whenever the collector's telemetry is.
func Register(settings component.TelemetrySettings, read func() []Observation) (metric.Registration, error) {
	meter := settings.MeterProvider.Meter(ScopeName)
	observables := make([]metric.Int64Observable, len(Instruments))
	var errs error
	for i, instrument := range Instruments {
		var err error
		description, unit := metric.WithDescription(instrument.Description), metric.WithUnit(instrument.Unit)
		if instrument.Gauge {
			observables[i], err = meter.Int64ObservableGauge(instrument.Name, description, unit)
		} else {
			observables[i], err = meter.Int64ObservableCounter(instrument.Name, description, unit)
		}
		errs = errors.Join(errs, err)
	}
	if errs != nil {
		return nil, errs
	}
	all := make([]metric.Observable, len(observables))
	for i, observable := range observables {
		all[i] = observable
	}
	return meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		for _, o := range read() {
			observer.ObserveInt64(observables[o.Instrument], o.Value, o.Options...)
		}
		return nil
	}, all...)
}
