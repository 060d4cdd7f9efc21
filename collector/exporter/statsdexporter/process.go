// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"encoding/hex"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// process is who sends: a resource. Its streams live as long as it is heard of.
type process struct {
	key        string
	described  string // the whole resource, as a key
	attributes []label
	generation int // counts changes of attributes: names may need making anew
	seen       time.Time
	began      pcommon.Timestamp // counters that started later count from their first point
	metrics    map[metricKey]*instrument
}

// metricKey is what makes a stream beside its attributes. What a metric is belongs to it: one that changes begins anew.
type metricKey struct {
	scope, version, name string
	suffix               string
	kind                 kind
	delta                bool
}

// instrument is one metric of one process.
type instrument struct {
	metricKey
	rule    rule
	streams map[string]*stream
}

// identifying are the attributes by which OpenTelemetry tells service instances apart.
var identifying = []string{"service.namespace", "service.name", "service.instance.id", "process.pid", "host.name"}

// identify appends the key of a process. A UUID is enough by itself: what a process says of itself may grow while it
// runs, the service's name included, and must not make its counters look new. Without an instance id the whole resource is the key.
func (b *keyBuilder) identify(resource pcommon.Map) []byte {
	instance, found := resource.Get("service.instance.id")
	switch {
	case !found || instance.AsString() == "":
		return b.attributes(resource)
	case instance.Type() == pcommon.ValueTypeStr && isUUID(instance.Str()):
		b.bytes = append(b.bytes[:0], 0xff, 0xfe)
		b.text(instance.Str())
		return b.bytes
	}
	b.bytes = append(b.bytes[:0], 0xff, 0xfd)
	for _, key := range identifying {
		if value, found := resource.Get(key); found {
			b.text(key)
			b.value(value)
		}
	}
	return b.short()
}

// isUUID also takes the form without dashes.
func isUUID(text string) bool {
	var digits [32]byte
	n := 0
	for i := range len(text) {
		if text[i] == '-' {
			continue
		}
		if n == len(digits) {
			return false
		}
		digits[n] = text[i]
		n++
	}
	var into [16]byte
	_, err := hex.Decode(into[:], digits[:])
	return n == len(digits) && err == nil
}

// forgotten remembers until when processes were known whose state was given up: when one speaks again, its counters hold
// what was sent already. The oldest of many are forgotten in turn.
type forgotten struct {
	until map[string]pcommon.Timestamp
	order []string // a ring once it is full
	next  int
}

const mostForgotten = 65536

func (f *forgotten) add(key string, until pcommon.Timestamp) {
	if _, known := f.until[key]; !known && len(f.order) < mostForgotten {
		f.order = append(f.order, key)
	} else if !known {
		delete(f.until, f.order[f.next])
		f.order[f.next] = key
		f.next = (f.next + 1) % mostForgotten
	}
	f.until[key] = until
}
