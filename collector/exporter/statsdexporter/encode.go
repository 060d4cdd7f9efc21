// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"
	"strconv"
)

// encoder writes the lines of series into packets.
type encoder struct {
	flavor      string
	percentiles []percentile
	sampleType  string
	maxSamples  int
	stats       *stats
	packets     packets
	samples     []sample
}

type percentile struct {
	quantile float64
	suffix   string
}

func newEncoder(cfg *Config, stats *stats) *encoder {
	e := &encoder{
		flavor: cfg.Flavor, sampleType: sampleTypes[cfg.Histogram.Type], maxSamples: cfg.Histogram.MaxSamples,
		stats: stats, packets: packets{limit: cfg.MaxPacketSize, framed: cfg.Transport == transportTCP},
	}
	for _, p := range cfg.Histogram.Percentiles {
		e.percentiles = append(e.percentiles, percentile{p / 100, percentileSuffix(p)})
	}
	return e
}

// encode writes what the series has to say, and what it has said begins anew.
func (e *encoder) encode(s *series) {
	switch s.kind {
	case kindCounter:
		if !s.total.zero() {
			e.number(s, "", s.total.number(), "|c")
			s.total = total{}
		}
	case kindGauge:
		if value, shown := s.gauge(); shown {
			e.gauge(s, "", value)
		}
	default:
		if s.observations != nil && s.observations.count > 0 {
			e.histogram(s, s.observations)
			s.observations.clear()
		}
	}
}

func (e *encoder) histogram(s *series, observed *accumulator) {
	spread := observed.distribute()
	if e.flavor == flavorDogStatsD {
		e.distribution(s, spread, observed.count)
		return
	}
	e.number(s, suffixCount, ofCount(observed.count), "|c")
	if observed.hasSum && observed.sum != 0 {
		e.number(s, suffixSum, ofFloat(observed.sum), "|c")
	}
	if spread == nil {
		return
	}
	for _, p := range e.percentiles {
		if value := spread.quantile(p.quantile); isFinite(value) {
			e.gauge(s, p.suffix, ofFloat(rounded(value)))
		}
	}
}

// distribution writes weighted samples, which a DogStatsD server counts as 1/rate observations each.
func (e *encoder) distribution(s *series, spread *distribution, count uint64) {
	if spread == nil {
		e.stats.pointsDropped[reasonMalformed].Add(int64(count)) // neither buckets nor a sum: no value is known
		return
	}
	e.samples = spread.samples(e.samples[:0], e.maxSamples)
	for _, sample := range e.samples {
		if sample.weight == 0 || !isFinite(sample.value) {
			continue
		}
		begin := e.open(s, "")
		e.packets.bytes = appendNumber(e.packets.bytes, ofFloat(rounded(sample.value)))
		e.packets.bytes = append(e.packets.bytes, '|')
		e.packets.bytes = append(e.packets.bytes, e.sampleType...)
		if sample.weight > 1 {
			e.packets.bytes = append(e.packets.bytes, "|@"...)
			e.packets.bytes = appendRate(e.packets.bytes, sample.weight)
		}
		e.close(s, begin, 1)
	}
}

func (e *encoder) number(s *series, suffix string, value number, kind string) {
	begin := e.open(s, suffix)
	e.line(value, kind)
	e.close(s, begin, 1)
}

// gauge writes a negative value behind a zero, in one packet: with a sign it is a change of what the server has.
func (e *encoder) gauge(s *series, suffix string, value number) {
	begin, lines := e.open(s, suffix), 1
	if value.negative() {
		e.line(number{}, "|g")
		e.packets.bytes = append(e.packets.bytes, s.tail...)
		e.packets.bytes = append(e.packets.bytes, '\n')
		e.open(s, suffix)
		lines = 2
	}
	e.line(value, "|g")
	e.close(s, begin, lines)
}

func (e *encoder) line(value number, kind string) {
	e.packets.bytes = appendNumber(e.packets.bytes, value)
	e.packets.bytes = append(e.packets.bytes, kind...)
}

func (e *encoder) open(s *series, suffix string) int {
	begin := len(e.packets.bytes)
	e.packets.bytes = append(e.packets.bytes, s.name...)
	e.packets.bytes = append(e.packets.bytes, suffix...)
	e.packets.bytes = append(e.packets.bytes, s.inline...)
	e.packets.bytes = append(e.packets.bytes, ':')
	return begin
}

func (e *encoder) close(s *series, begin, lines int) {
	e.packets.bytes = append(e.packets.bytes, s.tail...)
	if !e.packets.commit(begin, lines) {
		e.stats.linesDropped[reasonTooLong].Add(int64(lines))
	}
}

// appendNumber writes plain decimals: not every server reads exponents.
func appendNumber(into []byte, n number) []byte {
	if !n.isDouble {
		return strconv.AppendInt(into, n.integer, 10)
	}
	if n.float == 0 {
		return append(into, '0') // also for -0, whose sign would be read
	}
	return strconv.AppendFloat(into, n.float, 'f', -1, 64)
}

// rounded has nine digits: what was interpolated is not known better, and more make lines long.
func rounded(value float64) float64 {
	if value == 0 || !isFinite(value) {
		return value
	}
	digits := 8 - int(math.Floor(math.Log10(math.Abs(value))))
	if digits < 0 || digits > 300 {
		return value
	}
	scale := math.Pow10(digits)
	if scaled := value * scale; isFinite(scaled) {
		return math.Round(scaled) / scale
	}
	return value
}

// appendRate writes a rate whose inverse is the weight, or above it by less than servers see: some of them cut the
// inverse to a whole number, which must be the weight.
func appendRate(into []byte, weight uint64) []byte {
	begin := len(into)
	magnitude := int(math.Log10(float64(weight)))
	into = strconv.AppendFloat(into, 1/float64(weight), 'f', magnitude+max(9, magnitude+2), 64)
	for !inverts(into[begin:], weight) {
		decrement(into[begin:])
	}
	return trimZeros(into)
}

func inverts(rate []byte, weight uint64) bool {
	value, err := strconv.ParseFloat(string(rate), 64)
	return err == nil && 1/value >= float64(weight)
}

// decrement takes one off the last decimal.
func decrement(decimal []byte) {
	for i := len(decimal) - 1; i >= 0; i-- {
		switch {
		case decimal[i] == '.':
		case decimal[i] == '0':
			decimal[i] = '9'
		default:
			decimal[i]--
			return
		}
	}
}

func trimZeros(decimal []byte) []byte {
	for decimal[len(decimal)-1] == '0' {
		decimal = decimal[:len(decimal)-1]
	}
	return decimal
}
