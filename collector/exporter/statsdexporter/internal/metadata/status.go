// SPDX-License-Identifier: Apache-2.0

// Package metadata is what mdatagen makes of metadata.yaml, by hand: mdatagen's own modules cannot be had everywhere
// (v0.161.0 needs one that the proxy does not serve). telemetry_test.go compares it with metadata.yaml.
package metadata

import "go.opentelemetry.io/collector/component"

var (
	// Type of the component.
	Type = component.MustNewType("statsd")
	// ScopeName of the exporter's own telemetry.
	ScopeName = "github.com/openstack/otel-openstack/collector/exporter/statsdexporter"
)

// MetricsStability of the exporter.
const MetricsStability = component.StabilityLevelDevelopment
