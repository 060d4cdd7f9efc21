// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const value = `-?[0-9]+(\.[0-9]+)?`

// wellFormed is a line of each flavor, as its server reads it.
var wellFormed = map[string]*regexp.Regexp{
	flavorEtsy:     regexp.MustCompile(`^[A-Za-z0-9_.-]+:` + value + `\|[cg]$`),
	flavorGraphite: regexp.MustCompile(`^[A-Za-z0-9_.-]+(;[A-Za-z0-9_.-]+=[A-Za-z0-9_.-]+)*:` + value + `\|[cg]$`),
	flavorInfluxDB: regexp.MustCompile(`^[A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+=[A-Za-z0-9_./-]+)*:` + value + `\|[cg]$`),
	flavorDogStatsD: regexp.MustCompile(`^[A-Za-z0-9_.-]+:` + value +
		`\|([cg]|d(\|@0\.[0-9]+)?)(\|#[A-Za-z0-9_.-]+:[\pL\pN_./-]+(,[A-Za-z0-9_.-]+:[\pL\pN_./-]+)*)?$`),
}

var nasty = []string{
	"plain", "", "a\nb", "a:1|c", "x|#y:z", "@0.1", "a,b=c", "a;b=c", "\x00\x7f", "é世界", "\xff\xfe", "..", "a..b", ".", "{metric}", " ", "/",
}

func FuzzLines(f *testing.F) {
	for _, text := range nasty {
		f.Add(text, text, text, text, 1.5, uint8(0))
		f.Add("metric", "key", text, "service", -3.0, uint8(1))
		f.Add("metric", text, "value", "service", 1e300, uint8(2))
		f.Add(text, "key", "value", "service", 5e-324, uint8(3))
	}
	f.Fuzz(func(t *testing.T, name, key, value, service string, number float64, choice uint8) {
		flavor := flavors[int(choice)%len(flavors)]
		b := newBench(t, func(c *Config) { c.Flavor, c.MaxPacketSize = flavor, 512 })
		for _, metrics := range fuzzed(name, key, value, service, number) {
			b.consume(metrics)
		}
		for _, packet := range b.packets() {
			assert.LessOrEqual(t, len(packet), 512)
			assert.True(t, utf8.ValidString(packet))
			assertPairs(t, packet)
			for _, line := range strings.Split(packet, "\n") {
				assert.Regexp(t, wellFormed[flavor], line)
			}
		}
	})
}

func fuzzed(name, key, value, service string, number float64) []pmetric.Metrics {
	attributes := map[string]any{key: value, "n": 1}
	values := []pmetric.Metrics{
		sum(name, true, pmetric.AggregationTemporalityDelta, service, point{value: number, attributes: attributes}),
		sum(name, false, pmetric.AggregationTemporalityCumulative, service, point{value: number, attributes: attributes}),
		gauge(name, service, point{value: number, attributes: attributes}),
		histogram(service, 1001, 1002, []float64{-1, 0, 1}, []uint64{1, 2, 3, 4}, number),
		exponentialOf([]float64{-2, 0, 2}, 3, service, 1001, 1002, pmetric.AggregationTemporalityDelta),
	}
	if isFinite(number) && math.Abs(number) > 1e-300 && math.Abs(number) < 1e300 {
		values = append(values, exponentialOf([]float64{number}, 2, service, 1001, 1002, pmetric.AggregationTemporalityDelta))
	}
	for _, metrics := range values {
		resource := metrics.ResourceMetrics().At(0)
		resource.Resource().Attributes().PutStr("service.name", service)
		m := resource.ScopeMetrics().At(0).Metrics().At(0)
		m.SetName(name)
	}
	return values
}

func FuzzTemplates(f *testing.F) {
	for _, text := range append(nasty, "{service.name}.{metric}.{attributes}", "{", "}", "{}", "{{a}}", "a{b", "a}b{c}") {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		cfg := testConfig(func(c *Config) { c.Names.Default = text })
		if cfg.Validate() != nil {
			return
		}
		names, err := newNamer(cfg, &atomic.Int64{})
		if text != "" {
			require.NoError(t, err)
		}
		id := names.identify(value, []label{{value, value}}, nil)
		assert.Regexp(t, `^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`, id.name)
	})
}

// FuzzHistograms: whatever a histogram says, its count arrives, and samples lie where its buckets are.
func FuzzHistograms(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint64(3), 1.0, 2.0, 7.0, 0.5, 3.0, true)
	f.Add(uint64(0), uint64(0), uint64(9), 1.0, 2.0, 100.0, 0.0, 0.0, false)
	f.Add(uint64(1<<40), uint64(1), uint64(0), -1.0, 0.0, -5.0, -9.0, 9.0, true)
	f.Fuzz(func(t *testing.T, a, b, c uint64, low, high, sum, least, most float64, ends bool) {
		a, b, c = a%(1<<40), b%(1<<40), c%(1<<40)
		metrics := histogram(uuid(1), 1001, 1002, []float64{low, high}, []uint64{a, b, c}, sum)
		if ends {
			theHistogram(metrics).SetMin(least)
			theHistogram(metrics).SetMax(most)
		}
		for _, flavor := range []string{flavorEtsy, flavorDogStatsD} {
			bench := newBench(t, func(cfg *Config) { cfg.Flavor = flavor })
			bench.consume(metrics)
			lines := bench.lines()
			for _, line := range lines {
				assert.Regexp(t, wellFormed[flavor], line)
			}
			small := func(v float64) bool { return isFinite(v) && math.Abs(v) < 1e15 }
			if flavor == flavorDogStatsD && small(low) && small(high) && low < high && small(sum) && small(least) && small(most) {
				count, _, _ := receivedByOrNothing(t, lines)
				assert.InDelta(t, float64(a+b+c), count, 0)
			}
		}
	})
}

func receivedByOrNothing(t *testing.T, lines []string) (float64, float64, func(float64) float64) {
	if len(lines) == 0 {
		return 0, 0, nil
	}
	return receivedBy(t, lines)
}
