// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import "sync/atomic"

// reason says why a point or a line was not sent.
type reason uint8

const (
	reasonTooLong reason = iota
	reasonTooManyStreams
	reasonNotFinite
	reasonNegative
	reasonLate
	reasonMalformed
	reasonUnsupported
	reasonUnreachable
	reasonRefused
	reasonTimeout
	reasonFailed
	reasonShutdown
	reasons
)

var reasonNames = [reasons]string{
	reasonTooLong:        "too_long",         // the line does not fit into a packet
	reasonTooManyStreams: "too_many_streams", // max_streams is reached
	reasonNotFinite:      "not_finite",       // NaN or infinity
	reasonNegative:       "negative",         // a counter below zero
	reasonLate:           "late",             // older than a point that was seen
	reasonMalformed:      "malformed",        // a histogram whose buckets make no sense
	reasonUnsupported:    "unsupported",      // no temporality, or a type that is not known
	reasonUnreachable:    "unreachable",      // not connected, or the name does not resolve
	reasonRefused:        "refused",          // nobody listens
	reasonTimeout:        "timeout",          // the peer did not take it within write_timeout
	reasonFailed:         "failed",           // another error
	reasonShutdown:       "shutdown",         // the collector ended before it could be sent
}

// stats are the exporter's own numbers, read when the collector's telemetry is.
type stats struct {
	linesSent     atomic.Int64
	packetsSent   atomic.Int64
	bytesSent     atomic.Int64
	linesDropped  [reasons]atomic.Int64
	pointsDropped [reasons]atomic.Int64
	valuesCut     atomic.Int64
	errors        atomic.Int64
	connections   atomic.Int64
	collisions    atomic.Int64
}
