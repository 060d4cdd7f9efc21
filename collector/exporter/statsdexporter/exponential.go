// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	minScale = -10
	maxScale = 20
	// What doubles reach, in powers of two; an index beyond it names no bucket.
	minExponent, maxExponent = -1075, 1024
	// Beyond this many buckets a side is read with half as many: processes that combine may lie far apart.
	maxBuckets = 640
)

// side is the buckets of one sign; bucket i holds values from base^(offset+i) to base^(offset+i+1).
type side struct {
	offset int64
	counts []uint64
}

// exponential is a histogram whose bounds are the powers of 2^(2^-scale).
type exponential struct {
	used               bool
	scale              int
	zero               uint64
	positive, negative side
	moments
}

type exponentialHistory struct {
	cumulative
	exponential
}

func (e *exponential) read(point pmetric.ExponentialHistogramDataPoint) bool {
	e.used = true
	e.scale = int(point.Scale())
	e.zero = point.ZeroCount()
	e.moments = moments{
		count: point.Count(), sum: point.Sum(), hasSum: point.HasSum(),
		low: point.Min(), hasLow: point.HasMin(), high: point.Max(), hasHigh: point.HasMax(),
	}.usable()
	if e.scale < minScale || e.scale > maxScale {
		return false
	}
	return e.positive.read(point.Positive(), e.scale) && e.negative.read(point.Negative(), e.scale)
}

func (s *side) read(buckets pmetric.ExponentialHistogramDataPointBuckets, scale int) bool {
	counts := buckets.BucketCounts()
	first, last := 0, counts.Len()
	for first < last && counts.At(first) == 0 {
		first++
	}
	for last > first && counts.At(last-1) == 0 {
		last--
	}
	s.offset, s.counts = int64(buckets.Offset())+int64(first), s.counts[:0]
	if first == last {
		s.offset = 0
		return true
	}
	if exponent(s.offset, scale) < minExponent || exponent(s.offset+int64(last-first)-1, scale) > maxExponent {
		return false
	}
	for i := first; i < last; i++ {
		s.counts = append(s.counts, counts.At(i))
	}
	return true
}

func exponent(index int64, scale int) float64 { return math.Ldexp(float64(index), -scale) }

func (e *exponential) copyFrom(other *exponential) {
	e.used, e.scale, e.zero, e.moments = other.used, other.scale, other.zero, other.moments
	e.positive.copyFrom(&other.positive)
	e.negative.copyFrom(&other.negative)
}

func (s *side) copyFrom(other *side) {
	s.offset, s.counts = other.offset, append(s.counts[:0], other.counts...)
}

func (e *exponential) clear() {
	e.used, e.zero, e.moments = false, 0, moments{}
	e.positive.counts, e.negative.counts = e.positive.counts[:0], e.negative.counts[:0]
}

// coarsen goes to a lower scale: 2^(scale difference) buckets become one.
func (e *exponential) coarsen(scale int) {
	if scale >= e.scale {
		return
	}
	e.positive.coarsen(e.scale - scale)
	e.negative.coarsen(e.scale - scale)
	e.scale = scale
}

func (s *side) coarsen(by int) {
	if len(s.counts) == 0 {
		return
	}
	offset := s.offset >> by
	into := s.counts[:0] // behind what is read
	for i, count := range s.counts {
		at := int((s.offset+int64(i))>>by - offset)
		if at == len(into) {
			into = append(into, 0)
		}
		into[at] += count
	}
	s.offset, s.counts = offset, into
}

// add combines; both end at the lower scale.
func (e *exponential) add(other *exponential) {
	if !e.used {
		e.copyFrom(other)
		e.limit()
		return
	}
	aligned := other
	if other.scale > e.scale {
		aligned = &exponential{}
		aligned.copyFrom(other)
		aligned.coarsen(e.scale)
	}
	e.coarsen(aligned.scale)
	// A range of both that would be too wide is narrowed before memory is made for it.
	for max(e.positive.width(&aligned.positive), e.negative.width(&aligned.negative)) > maxBuckets && e.scale > minScale {
		if aligned == other {
			aligned = &exponential{}
			aligned.copyFrom(other)
		}
		e.coarsen(e.scale - 1)
		aligned.coarsen(e.scale)
	}
	e.zero += aligned.zero
	e.positive.add(&aligned.positive)
	e.negative.add(&aligned.negative)
	e.moments.add(aligned.moments)
}

func (e *exponential) limit() {
	for max(len(e.positive.counts), len(e.negative.counts)) > maxBuckets && e.scale > minScale {
		e.coarsen(e.scale - 1)
	}
}

func (s *side) width(other *side) int64 {
	if len(s.counts) == 0 || len(other.counts) == 0 {
		return int64(max(len(s.counts), len(other.counts)))
	}
	return max(s.end(), other.end()) - min(s.offset, other.offset)
}

func (s *side) end() int64 { return s.offset + int64(len(s.counts)) }

func (s *side) add(other *side) {
	if len(other.counts) == 0 {
		return
	}
	if len(s.counts) == 0 {
		s.copyFrom(other)
		return
	}
	if before := int(s.offset - other.offset); before > 0 {
		s.counts = append(make([]uint64, before, before+len(s.counts)), s.counts...)
		s.offset = other.offset
	}
	for s.end() < other.end() {
		s.counts = append(s.counts, 0)
	}
	for i, count := range other.counts {
		s.counts[int(other.offset-s.offset)+i] += count
	}
}

// advance turns a cumulative point into what is new in it, in place. False: nothing is.
func (h *exponentialHistory) advance(point *exponential, start, time, began pcommon.Timestamp) (progress, bool) {
	var now exponential
	now.copyFrom(point)
	decreased := false
	if h.known {
		scale := min(h.scale, point.scale)
		h.coarsen(scale)
		point.coarsen(scale)
		decreased = point.count < h.count || point.zero < h.zero ||
			!point.positive.covers(&h.positive) || !point.negative.covers(&h.negative)
	}
	moved := h.cumulative.advance(start, time, began, decreased)
	if moved == progressLate {
		return moved, false
	}
	if moved == progressForward {
		point.zero -= h.zero
		point.positive.subtract(&h.positive)
		point.negative.subtract(&h.negative)
		point.moments = point.moments.minus(h.moments)
	}
	h.exponential = now
	return moved, moved != progressBaseline && point.count > 0
}

func (s *side) at(index int64) uint64 {
	if index < s.offset || index >= s.end() {
		return 0
	}
	return s.counts[index-s.offset]
}

func (s *side) covers(before *side) bool {
	for i, count := range before.counts {
		if s.at(before.offset+int64(i)) < count {
			return false
		}
	}
	return true
}

func (s *side) subtract(before *side) {
	for i := range s.counts {
		s.counts[i] -= before.at(s.offset + int64(i))
	}
}

// segments appends in ascending order: the negative side backwards, zero, the positive side.
func (e *exponential) segments(into []segment) []segment {
	if !e.used {
		return into
	}
	for i := len(e.negative.counts) - 1; i >= 0; i-- {
		if count := e.negative.counts[i]; count > 0 {
			low, high := e.ends(e.negative.offset + int64(i))
			into = append(into, e.bound(segment{-high, -low, float64(count)}))
		}
	}
	if e.zero > 0 {
		into = append(into, segment{0, 0, float64(e.zero)})
	}
	for i, count := range e.positive.counts {
		if count > 0 {
			low, high := e.ends(e.positive.offset + int64(i))
			into = append(into, e.bound(segment{low, high, float64(count)}))
		}
	}
	return into
}

func (e *exponential) ends(index int64) (low, high float64) {
	low = math.Exp2(exponent(index, e.scale))
	high = min(math.Exp2(exponent(index+1, e.scale)), math.MaxFloat64)
	return min(low, high), high
}
