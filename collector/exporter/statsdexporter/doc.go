// SPDX-License-Identifier: Apache-2.0

// Package statsdexporter sends metrics to statsd: Etsy's, DogStatsD, and those with InfluxDB's or Graphite's tags.
//
// Points of many processes are combined under their statsd name (aggregator.go), and every flush_interval each name is
// written as lines (encode.go), packed into packets (packet.go) and sent (sender.go). Nothing waits for the peer but the
// one goroutine that flushes.
package statsdexporter // import "github.com/openstack/otel-openstack/collector/exporter/statsdexporter"
