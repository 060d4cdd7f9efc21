// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"cmp"
	"math"
	"slices"
)

// segment holds observations between two values, taken as spread evenly.
type segment struct {
	low, high float64
	count     float64
}

// distribution is what is known of a series' observations in one flush.
type distribution struct {
	segments []segment // ascending, not overlapping
	count    float64
	sum      float64
	hasSum   bool
}

// quantile interpolates linearly in its bucket, as Prometheus's histogram_quantile does.
func (d *distribution) quantile(q float64) float64 {
	rank := q * d.count
	for i, s := range d.segments {
		if rank <= s.count || i == len(d.segments)-1 {
			return s.low + (s.high-s.low)*min(rank/s.count, 1)
		}
		rank -= s.count
	}
	return math.NaN()
}

// sample stands for a whole number of observations.
type sample struct {
	value  float64
	weight uint64
}

// samples appends as many as limit, but at least one for each segment. Each segment's are spread evenly over it,
// then all are moved, within their segments, by the share of the way that makes their mean the true one.
func (d *distribution) samples(into []sample, limit int) []sample {
	begin := len(into)
	var mean, up, down float64
	for _, s := range d.segments {
		pieces := uint64(max(1, min(s.count, math.Floor(s.count/d.count*float64(limit)))))
		whole := uint64(s.count)
		for i := range pieces {
			weight := whole/pieces + boolToCount(i < whole%pieces)
			value := s.low + (s.high-s.low)*(float64(i)+0.5)/float64(pieces)
			into = append(into, sample{value, weight})
			mean += value * float64(weight)
			up += (s.high - value) * float64(weight)
			down += (value - s.low) * float64(weight)
		}
	}
	if d.hasSum {
		d.move(into[begin:], d.sum-mean, up, down)
	}
	return into
}

func (d *distribution) move(samples []sample, missing, up, down float64) {
	share := 0.0
	switch {
	case missing > 0 && up > 0:
		share = min(missing/up, 1)
	case missing < 0 && down > 0:
		share = max(missing/down, -1)
	}
	if !isFinite(share) || share == 0 {
		return
	}
	i := 0
	for _, s := range d.segments {
		for left := s.count; left >= 0.5 && i < len(samples); i++ {
			left -= float64(samples[i].weight)
			if share > 0 {
				samples[i].value += share * (s.high - samples[i].value)
			} else {
				samples[i].value += share * (samples[i].value - s.low)
			}
		}
	}
}

func boolToCount(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

// flatten makes overlapping segments, of processes whose buckets differ, into ones that follow each other.
func flatten(overlapping []segment) []segment {
	var cuts []float64
	for _, s := range overlapping {
		cuts = append(cuts, s.low, s.high)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var flat []segment
	for i, low := range cuts {
		var points, spread float64
		for _, s := range overlapping {
			if s.low == s.high && s.low == low {
				points += s.count
			}
			if i+1 < len(cuts) && s.low < s.high && s.low <= low && cuts[i+1] <= s.high {
				spread += s.count * (cuts[i+1] - low) / (s.high - s.low)
			}
		}
		if points > 0 {
			flat = append(flat, segment{low, low, points})
		}
		if spread > 0 {
			flat = append(flat, segment{low, cuts[i+1], spread})
		}
	}
	return wholeCounts(flat)
}

// wholeCounts rounds so that the sum stays: a sample stands for a whole number of observations.
func wholeCounts(segments []segment) []segment {
	var exact, given float64
	for i := range segments {
		exact += segments[i].count
		segments[i].count = math.Round(exact) - given
		given += segments[i].count
	}
	return slices.DeleteFunc(segments, func(s segment) bool { return s.count < 0.5 })
}

func ascending(segments []segment) bool {
	return slices.IsSortedFunc(segments, func(a, b segment) int { return cmp.Compare(a.low, b.low) })
}
