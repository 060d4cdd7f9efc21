// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// moments is what a histogram says beside its buckets.
type moments struct {
	count           uint64
	sum             float64
	hasSum          bool
	low, high       float64
	hasLow, hasHigh bool
}

// minus is what came since; low and high bound it still.
func (m moments) minus(before moments) moments {
	m.count -= before.count
	m.sum -= before.sum
	m.hasSum = m.hasSum && before.hasSum
	return m
}

// add combines; what not all know is not known.
func (m *moments) add(other moments) {
	if m.count == 0 {
		*m = other
		return
	}
	m.count += other.count
	m.sum += other.sum
	m.hasSum = m.hasSum && other.hasSum
	m.low, m.hasLow = min(m.low, other.low), m.hasLow && other.hasLow
	m.high, m.hasHigh = max(m.high, other.high), m.hasHigh && other.hasHigh
}

// usable drops what is no number: one NaN among the observations makes the sum one for good.
func (m moments) usable() moments {
	m.hasSum = m.hasSum && isFinite(m.sum)
	m.hasLow = m.hasLow && isFinite(m.low)
	m.hasHigh = m.hasHigh && isFinite(m.high)
	if m.hasLow && m.hasHigh && m.low > m.high {
		m.hasLow, m.hasHigh = false, false
	}
	return m
}

// explicit is a histogram with given bounds; without bounds it has moments only.
type explicit struct {
	bounds  []float64
	buckets []uint64
	moments
}

// explicitHistory is what a cumulative stream said last.
type explicitHistory struct {
	cumulative
	explicit
}

// read fills the receiver with the point, reusing its memory, and says whether the point is well formed.
func (e *explicit) read(point pmetric.HistogramDataPoint) bool {
	bounds, counts := point.ExplicitBounds(), point.BucketCounts()
	e.bounds = e.bounds[:0]
	for i := range bounds.Len() {
		e.bounds = append(e.bounds, bounds.At(i))
	}
	e.buckets = e.buckets[:0]
	for i := range counts.Len() {
		e.buckets = append(e.buckets, counts.At(i))
	}
	e.moments = moments{
		count: point.Count(), sum: point.Sum(), hasSum: point.HasSum(),
		low: point.Min(), hasLow: point.HasMin(), high: point.Max(), hasHigh: point.HasMax(),
	}.usable()
	return e.wellFormed()
}

func (e *explicit) wellFormed() bool {
	if len(e.buckets) == 0 {
		return len(e.bounds) == 0
	}
	if len(e.buckets) != len(e.bounds)+1 {
		return false
	}
	for i, bound := range e.bounds {
		if !isFinite(bound) || i > 0 && bound <= e.bounds[i-1] {
			return false
		}
	}
	return true
}

func (e *explicit) copyFrom(other *explicit) {
	e.bounds = append(e.bounds[:0], other.bounds...)
	e.buckets = append(e.buckets[:0], other.buckets...)
	e.moments = other.moments
}

func (e *explicit) below(other *explicit) bool {
	if e.count < other.count {
		return true
	}
	for i, count := range e.buckets {
		if count < other.buckets[i] {
			return true
		}
	}
	return false
}

func (e *explicit) subtract(other *explicit) {
	for i := range e.buckets {
		e.buckets[i] -= other.buckets[i]
	}
	e.moments = e.moments.minus(other.moments)
}

// advance turns a cumulative point into what is new in it, in place. False: nothing is.
func (h *explicitHistory) advance(point *explicit, spare *explicit, start, time, began pcommon.Timestamp) (progress, bool) {
	same := slices.Equal(h.bounds, point.bounds)
	decreased := h.known && same && point.below(&h.explicit)
	moved := h.cumulative.advance(start, time, began, decreased)
	if moved == progressForward && !same {
		moved = progressBaseline // other buckets without a new start: how much of it is new cannot be known
	}
	if moved == progressLate {
		return moved, false
	}
	spare.copyFrom(point)
	if moved == progressForward {
		point.subtract(&h.explicit)
	}
	h.explicit, *spare = *spare, h.explicit
	return moved, moved != progressBaseline && point.count > 0
}

// accumulator combines the histograms that reach a series between two flushes.
type accumulator struct {
	moments
	explicits []explicit // one for each set of bounds; nearly always one
	exponents exponential
	spread    distribution
}

func (a *accumulator) addExplicit(e *explicit) {
	a.moments.add(e.moments)
	for i := range a.explicits {
		known := &a.explicits[i]
		if slices.Equal(known.bounds, e.bounds) {
			for at, count := range e.buckets {
				known.buckets[at] += count
			}
			known.moments.add(e.moments)
			return
		}
	}
	var fresh explicit
	fresh.copyFrom(e)
	a.explicits = append(a.explicits, fresh)
}

func (a *accumulator) addExponential(e *exponential) {
	a.moments.add(e.moments)
	a.exponents.add(e)
}

// clear keeps the memory: the next flush has the same buckets.
func (a *accumulator) clear() {
	a.moments = moments{}
	for i := range a.explicits {
		clear(a.explicits[i].buckets)
		a.explicits[i].moments = moments{}
	}
	a.exponents.clear()
}

// distribute says how the observations lie; nil when nothing tells.
func (a *accumulator) distribute() *distribution {
	d := &a.spread
	d.segments = d.segments[:0]
	for i := range a.explicits {
		d.segments = a.explicits[i].segments(d.segments)
	}
	d.segments = a.exponents.segments(d.segments)
	d.sum, d.hasSum = a.sum, a.hasSum
	if a.count == 1 && a.hasSum {
		d.segments = append(d.segments[:0], segment{a.sum, a.sum, 1}) // a single observation is the sum
	}
	if !a.single() {
		d.segments = flatten(d.segments)
	}
	d.count = 0
	for _, s := range d.segments {
		d.count += s.count
	}
	if d.count == 0 {
		return nil
	}
	return d
}

// single says whether all segments come from one set of buckets, so that they follow each other.
func (a *accumulator) single() bool {
	used := boolToCount(a.exponents.count > 0)
	for i := range a.explicits {
		used += boolToCount(a.explicits[i].count > 0)
	}
	return used <= 1 || a.count == 1
}

func (e *explicit) segments(into []segment) []segment {
	if len(e.bounds) == 0 {
		return e.withoutBounds(into)
	}
	begin := len(into)
	for i, count := range e.buckets {
		if count > 0 {
			into = append(into, e.segment(i, float64(count)))
		}
	}
	if last := len(e.buckets) - 1; e.buckets[last] > 0 && !e.hasHigh && e.hasSum {
		e.stretchLast(into[begin:])
	}
	return into
}

func (e *explicit) segment(i int, count float64) segment {
	s := segment{low: math.Inf(-1), high: math.Inf(1), count: count}
	if i > 0 {
		s.low = e.bounds[i-1]
	}
	if i < len(e.bounds) {
		s.high = e.bounds[i]
	}
	return e.bound(s)
}

// bound cuts a segment to what min and max allow; an end that nothing bounds is the other one, or zero before a positive bound.
func (m *moments) bound(s segment) segment {
	if m.hasLow && m.low > s.low {
		s.low = min(m.low, s.high)
	}
	if m.hasHigh && m.high < s.high {
		s.high = max(m.high, s.low)
	}
	if math.IsInf(s.low, -1) {
		s.low = min(0, s.high)
		if s.high <= 0 {
			s.low = s.high
		}
	}
	if math.IsInf(s.high, 1) {
		s.high = s.low
	}
	return s
}

// stretchLast puts what lies beyond the last bound where the sum says that it lies on average.
func (e *explicit) stretchLast(segments []segment) {
	rest := e.sum
	last := &segments[len(segments)-1]
	for _, s := range segments[:len(segments)-1] {
		rest -= (s.low + s.high) / 2 * s.count
	}
	if average := rest / last.count; average > last.high {
		last.low, last.high = average, average
	}
}

func (e *explicit) withoutBounds(into []segment) []segment {
	switch {
	case e.count == 0:
		return into
	case e.hasLow && e.hasHigh:
		return append(into, segment{e.low, e.high, float64(e.count)})
	case e.hasSum:
		mean := e.sum / float64(e.count)
		return append(into, segment{mean, mean, float64(e.count)})
	default:
		return into
	}
}
