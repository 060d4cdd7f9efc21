// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// number keeps integers exact: a counter of bytes passes 2^53, from where a float skips.
type number struct {
	integer  int64
	float    float64
	isDouble bool
}

func numberOf(point pmetric.NumberDataPoint) number {
	if point.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		return number{float: point.DoubleValue(), isDouble: true}
	}
	return number{integer: point.IntValue()}
}

func ofFloat(value float64) number { return number{float: value, isDouble: true} }

func ofCount(value uint64) number {
	if value > math.MaxInt64 {
		return ofFloat(float64(value))
	}
	return number{integer: int64(value)}
}

func (n number) value() float64 {
	if n.isDouble {
		return n.float
	}
	return float64(n.integer)
}

func (n number) finite() bool { return !n.isDouble || isFinite(n.float) }

func (n number) negative() bool {
	return n.isDouble && n.float < 0 || !n.isDouble && n.integer < 0
}

func (n number) less(other number) bool {
	if n.isDouble || other.isDouble {
		return n.value() < other.value()
	}
	return n.integer < other.integer
}

// minus is for counters, neither of which is negative, so that integers do not overflow.
func (n number) minus(other number) number {
	if n.isDouble || other.isDouble {
		return ofFloat(n.value() - other.value())
	}
	return number{integer: n.integer - other.integer}
}

func isFinite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

// total adds numbers up, integers exactly as long as they fit.
type total struct {
	integer int64
	float   float64
}

func (t *total) add(n number) {
	if n.isDouble {
		t.float += n.float
		return
	}
	sum := t.integer + n.integer
	if (sum > t.integer) == (n.integer > 0) || n.integer == 0 {
		t.integer = sum
		return
	}
	t.float += float64(n.integer)
}

func (t *total) zero() bool { return t.integer == 0 && t.float == 0 }

func (t *total) number() number {
	if t.float == 0 {
		return number{integer: t.integer}
	}
	return ofFloat(float64(t.integer) + t.float)
}

// progress is how a cumulative point relates to the one before it.
type progress int

const (
	progressFirst    progress = iota // the first that counts from zero: all of it is new
	progressBaseline                 // the first of one that began before us: none of it is known to be new
	progressForward                  // what was added since is new
	progressReset                    // it began anew: all of it is new
	progressLate                     // an older point than one that was seen
)

// cumulative follows the points of one stream; the values are its owner's.
type cumulative struct {
	known bool
	start pcommon.Timestamp
	time  pcommon.Timestamp
}

// advance judges a point; decreased says that a value of it is below the one before. began is when we began to watch.
func (c *cumulative) advance(start, time, began pcommon.Timestamp, decreased bool) progress {
	verdict := c.judge(start, time, began, decreased)
	if verdict != progressLate {
		c.known, c.start, c.time = true, start, time
	}
	return verdict
}

func (c *cumulative) judge(start, time, began pcommon.Timestamp, decreased bool) progress {
	switch {
	case !c.known && start > began:
		return progressFirst
	case !c.known:
		return progressBaseline
	case start != 0 && c.start != 0 && start < c.start:
		return progressLate
	case start != 0 && c.start != 0 && start > c.start:
		return progressReset
	case time != 0 && time < c.time:
		return progressLate
	case decreased:
		return progressReset
	default:
		return progressForward
	}
}
