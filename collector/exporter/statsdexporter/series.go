// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// rule says how the gauges of several processes become one.
type rule uint8

const (
	ruleSum rule = iota
	ruleMax
	ruleMin
	ruleLast
	ruleAvg
)

const (
	suffixCount = ".count"
	suffixSum   = ".sum"
)

var noSuffix = []string{""}

// percentileSuffix is .p95, or .p99_9.
func percentileSuffix(percentile float64) string {
	text := strconv.FormatFloat(math.Round(percentile*1e6)/1e6, 'f', -1, 64)
	return ".p" + strings.ReplaceAll(text, ".", "_")
}

func histogramSuffixes(cfg *Config) []string {
	if cfg.Flavor == flavorDogStatsD {
		return noSuffix
	}
	suffixes := []string{suffixCount, suffixSum}
	for _, percentile := range cfg.Histogram.Percentiles {
		suffixes = append(suffixes, percentileSuffix(percentile))
	}
	return suffixes
}

// series is one name on the wire. Streams of several processes may be members.
type series struct {
	identity
	kind      kind
	rule      rule
	described string
	members   int

	total        total        // a counter's, since the last flush
	shown        []*stream    // a gauge's
	emptied      bool         // a summed gauge lost its last stream: it is zero now, and that is to be sent
	observations *accumulator // a histogram's, since the last flush
}

func (s *series) count(n number) { s.total.add(n) }

// show makes the stream's value part of the gauge; it stays so until the stream leaves.
func (s *series) show(from *stream) {
	s.emptied = false
	if !from.showing {
		from.showing = true
		s.shown = append(s.shown, from)
	}
}

func (s *series) hide(from *stream) {
	if from.showing {
		from.showing = false
		at := slices.Index(s.shown, from)
		s.shown = slices.Delete(s.shown, at, at+1)
		s.emptied = len(s.shown) == 0 && s.rule == ruleSum
	}
}

func (s *series) observed() *accumulator {
	if s.observations == nil {
		s.observations = &accumulator{}
	}
	return s.observations
}

// pending says whether something waits to be sent that a later point would not say again.
func (s *series) pending() bool {
	return !s.total.zero() || s.emptied || s.observations != nil && s.observations.count > 0
}

// gauge combines what the streams show; false when none does.
func (s *series) gauge() (number, bool) {
	if len(s.shown) == 0 {
		was := s.emptied
		s.emptied = false
		return number{}, was
	}
	best := s.shown[0]
	var sum total
	for _, other := range s.shown {
		sum.add(other.number)
		if s.prefers(other, best) {
			best = other
		}
	}
	switch s.rule {
	case ruleSum:
		return sum.number(), true
	case ruleAvg:
		if len(s.shown) == 1 {
			return best.number, true
		}
		return ofFloat(sum.number().value() / float64(len(s.shown))), true
	default:
		return best.number, true
	}
}

func (s *series) prefers(other, best *stream) bool {
	switch s.rule {
	case ruleMax:
		return best.number.less(other.number)
	case ruleMin:
		return other.number.less(best.number)
	default:
		return other.moved > best.moved || other.moved == best.moved && other.arrived > best.arrived
	}
}
