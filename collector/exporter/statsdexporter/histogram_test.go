// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

var seconds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

func histogram(instance string, start, time float64, bounds []float64, buckets []uint64, sum float64) pmetric.Metrics {
	metrics, into := batch(instance)
	m := into.AppendEmpty()
	m.SetName("latency")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := h.DataPoints().AppendEmpty()
	p.SetStartTimestamp(stamp(start))
	p.SetTimestamp(stamp(time))
	p.ExplicitBounds().FromRaw(bounds)
	p.BucketCounts().FromRaw(buckets)
	var count uint64
	for _, bucket := range buckets {
		count += bucket
	}
	p.SetCount(count)
	p.SetSum(sum)
	return metrics
}

func theHistogram(metrics pmetric.Metrics) pmetric.HistogramDataPoint {
	return metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Histogram().DataPoints().At(0)
}

// observed buckets values.
func observed(values, bounds []float64) (buckets []uint64, sum float64) {
	buckets = make([]uint64, len(bounds)+1)
	for _, value := range values {
		at, _ := slices.BinarySearch(bounds, value)
		buckets[at]++
		sum += value
	}
	return buckets, sum
}

func lognormal(n int) []float64 {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, n)
	for i := range values {
		values[i] = 0.08 * math.Exp(0.7*random.NormFloat64())
	}
	return values
}

func quantileOf(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1]
}

func TestHistogramForEtsy(t *testing.T) {
	b := newBench(t)
	b.consume(histogram(uuid(1), 1001, 1002, []float64{1, 2, 4}, []uint64{2, 6, 2, 0}, 15.5))
	assert.Equal(t, []string{
		"nova-api.latency.count:10|c", "nova-api.latency.sum:15.5|c",
		"nova-api.latency.p50:1.5|g", "nova-api.latency.p95:3.5|g", "nova-api.latency.p99:3.9|g",
	}, b.lines())
	assert.Empty(t, b.lines())
	b.consume(histogram(uuid(1), 1001, 1003, []float64{1, 2, 4}, []uint64{2, 7, 2, 0}, 16.75))
	assert.Equal(t, []string{
		"nova-api.latency.count:1|c", "nova-api.latency.sum:1.25|c",
		"nova-api.latency.p50:1.25|g", "nova-api.latency.p95:1.25|g", "nova-api.latency.p99:1.25|g",
	}, b.lines(), "a single observation is the sum")
}

func TestMinAndMaxBoundTheEnds(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Histogram.Percentiles = []float64{50, 99.9} })
	metrics := histogram(uuid(1), 1001, 1002, []float64{1}, []uint64{5, 5}, 30)
	theHistogram(metrics).SetMin(0.9)
	theHistogram(metrics).SetMax(7)
	b.consume(metrics)
	assert.Equal(t, []string{
		"nova-api.latency.count:10|c", "nova-api.latency.sum:30|c", "nova-api.latency.p50:1|g", "nova-api.latency.p99_9:6.988|g",
	}, b.lines())
}

func TestHistogramsOfWorkersCombine(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Histogram.Percentiles = []float64{50} })
	for worker := range 8 {
		b.consume(histogram(uuid(worker), 1001, 1002, []float64{1, 2, 4}, []uint64{1, 3, 1, 0}, 8))
	}
	assert.Equal(t, []string{"nova-api.latency.count:40|c", "nova-api.latency.sum:64|c", "nova-api.latency.p50:1.5|g"}, b.lines())
}

func TestHistogramsWithDifferentBucketsCombine(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Histogram.Percentiles = []float64{25, 50, 75} })
	b.consume(histogram(uuid(1), 1001, 1002, []float64{0, 2}, []uint64{0, 10, 0}, 10))
	b.consume(histogram(uuid(2), 1001, 1002, []float64{1, 3}, []uint64{0, 10, 0}, 20))
	assert.Equal(t, []string{
		"nova-api.latency.count:20|c", "nova-api.latency.sum:30|c",
		"nova-api.latency.p25:1|g", "nova-api.latency.p50:1.5|g", "nova-api.latency.p75:2|g",
	}, b.lines())
}

func TestAResetHistogramCountsWhole(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Histogram.Percentiles = nil })
	b.consume(histogram(uuid(1), 900, 1002, []float64{1}, []uint64{5, 5}, 30))
	b.consume(histogram(uuid(1), 900, 1003, []float64{1}, []uint64{6, 5}, 30.5))
	assert.Equal(t, []string{"nova-api.latency.count:1|c", "nova-api.latency.sum:0.5|c"}, b.lines())
	b.consume(histogram(uuid(1), 900, 1004, []float64{1}, []uint64{1, 7}, 40)) // one bucket fell
	assert.Equal(t, []string{"nova-api.latency.count:8|c", "nova-api.latency.sum:40|c"}, b.lines())
}

func TestOtherBucketsWithoutANewStartAreABaseline(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Histogram.Percentiles = nil })
	b.consume(histogram(uuid(1), 1001, 1002, []float64{1}, []uint64{5, 5}, 30))
	assert.Equal(t, []string{"nova-api.latency.count:10|c", "nova-api.latency.sum:30|c"}, b.lines())
	b.consume(histogram(uuid(1), 1001, 1003, []float64{1, 2}, []uint64{5, 5, 1}, 33))
	assert.Empty(t, b.lines())
	b.consume(histogram(uuid(1), 1001, 1004, []float64{1, 2}, []uint64{5, 6, 1}, 34.5))
	assert.Equal(t, []string{"nova-api.latency.count:1|c", "nova-api.latency.sum:1.5|c"}, b.lines())
}

func TestMalformedHistogramsAreDropped(t *testing.T) {
	b := newBench(t)
	b.consume(histogram(uuid(1), 1001, 1002, []float64{1, 1}, []uint64{1, 1, 1}, 1))
	b.consume(histogram(uuid(1), 1001, 1002, []float64{1}, []uint64{1}, 1))
	b.consume(histogram(uuid(1), 1001, 1002, []float64{math.NaN()}, []uint64{1, 1}, 1))
	assert.Empty(t, b.lines())
	assert.EqualValues(t, 3, b.dropped(reasonMalformed))
}

// A DogStatsD server takes each sample 1/rate times.
func receivedBy(t *testing.T, lines []string) (count float64, mean float64, quantile func(float64) float64) {
	type weighted struct{ value, weight float64 }
	var all []weighted
	var sum float64
	for _, line := range lines {
		_, rest, _ := strings.Cut(line, ":")
		fields := strings.Split(rest, "|")
		value, err := strconv.ParseFloat(fields[0], 64)
		require.NoError(t, err)
		weight := 1.0
		if rate, found := strings.CutPrefix(fields[2], "@"); found {
			assert.NotContains(t, rate, "e")
			parsed, err := strconv.ParseFloat(rate, 64)
			require.NoError(t, err)
			assert.InDelta(t, math.Floor(1/parsed), 1/parsed, 1e-6*(1/parsed))
			weight = math.Floor(1 / parsed)
		}
		all = append(all, weighted{value, weight})
		count += weight
		sum += weight * value
	}
	slices.SortFunc(all, func(a, b weighted) int { return int(math.Copysign(1, a.value-b.value)) })
	return count, sum / count, func(q float64) float64 {
		var seen float64
		for _, w := range all {
			if seen += w.weight; seen >= q*count {
				return w.value
			}
		}
		return math.NaN()
	}
}

func TestSamplesForDogStatsDMatchTheSource(t *testing.T) {
	for _, n := range []int{1, 7, 500, 100_000, 20_000_000} {
		values := lognormal(min(n, 100_000))
		buckets, sum := observed(values, seconds)
		times := uint64(n / len(values))
		for i := range buckets {
			buckets[i] *= times
		}
		b := newBench(t, func(c *Config) { c.Flavor = flavorDogStatsD })
		b.consume(histogram(uuid(1), 1001, 1002, seconds, buckets, sum*float64(times)))
		lines := b.lines()
		assert.LessOrEqual(t, len(lines), 100+len(seconds))
		count, mean, quantile := receivedBy(t, lines)
		assert.EqualValues(t, n, count)
		assert.InEpsilon(t, sum*float64(times)/float64(n), mean, 1e-6)
		if n >= 500 {
			assert.InEpsilon(t, quantileOf(values, 0.5), quantile(0.5), 0.1)
			assert.InEpsilon(t, quantileOf(values, 0.95), quantile(0.95), 0.15)
		}
	}
}

func TestSamplesBeyondTheLastBoundFollowTheSum(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Flavor = flavorDogStatsD })
	b.consume(histogram(uuid(1), 1001, 1002, []float64{1}, []uint64{0, 4}, 400))
	for _, line := range b.lines() {
		assert.Equal(t, "latency:100|d|#service.name:nova-api", line)
	}
}

func TestAHistogramOfTwoBucketsForDogStatsD(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Flavor, c.Histogram.MaxSamples, c.Histogram.Type = flavorDogStatsD, 1, "histogram" })
	b.consume(histogram(uuid(1), 1001, 1002, []float64{1, 2, 4}, []uint64{0, 3, 10, 0}, 34.5))
	assert.Equal(t, []string{
		"latency:1.5|h|@0.333333333|#service.name:nova-api", "latency:3|h|@0.1|#service.name:nova-api",
	}, b.lines())
}

func TestRatesInvertToTheWeight(t *testing.T) {
	for _, weight := range []uint64{2, 3, 7, 10, 49, 98, 103, 107, 161, 999, 1000, 12345, 1 << 20, 1 << 40, 1 << 53} {
		rate := string(appendRate(nil, weight))
		value, err := strconv.ParseFloat(rate, 64)
		require.NoError(t, err)
		assert.EqualValues(t, weight, uint64(1/value), rate)
		assert.NotContains(t, rate, "e")
	}
}

func exponentialOf(values []float64, scale int32, instance string, start, time float64, temporality pmetric.AggregationTemporality) pmetric.Metrics {
	metrics, into := batch(instance)
	m := into.AppendEmpty()
	m.SetName("latency")
	h := m.SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(temporality)
	p := h.DataPoints().AppendEmpty()
	p.SetStartTimestamp(stamp(start))
	p.SetTimestamp(stamp(time))
	p.SetScale(scale)
	var total float64
	counts := map[bool]map[int]uint64{false: {}, true: {}}
	for _, value := range values {
		total += value
		if value == 0 {
			p.SetZeroCount(p.ZeroCount() + 1)
			continue
		}
		counts[value < 0][int(math.Ceil(math.Ldexp(math.Log2(math.Abs(value)), int(scale))))-1]++
	}
	for negative, buckets := range map[bool]pmetric.ExponentialHistogramDataPointBuckets{false: p.Positive(), true: p.Negative()} {
		if len(counts[negative]) == 0 {
			continue
		}
		low, high := math.MaxInt, math.MinInt
		for at := range counts[negative] {
			low, high = min(low, at), max(high, at)
		}
		buckets.SetOffset(int32(low))
		for at := low; at <= high; at++ {
			buckets.BucketCounts().Append(counts[negative][at])
		}
	}
	p.SetCount(uint64(len(values)))
	p.SetSum(total)
	return metrics
}

func TestExponentialHistogramsMatchTheSource(t *testing.T) {
	values := lognormal(10_000)
	for _, flavor := range []string{flavorEtsy, flavorDogStatsD} {
		b := newBench(t, func(c *Config) { c.Flavor, c.Histogram.MaxSamples = flavor, 1000 })
		cumulative := pmetric.AggregationTemporalityCumulative
		// The scale falls between the first point and the second, and a second worker has another one.
		b.consume(exponentialOf(values[:5000], 6, uuid(1), 900, 1002, cumulative))
		b.consume(exponentialOf(values, 4, uuid(1), 900, 1003, cumulative))
		b.consume(exponentialOf(values[:5000], 5, uuid(2), 1001, 1003, cumulative))
		want := append(slices.Clone(values[5000:]), values[:5000]...)
		lines := b.lines()
		if flavor == flavorDogStatsD {
			count, mean, quantile := receivedBy(t, lines)
			assert.EqualValues(t, 10_000, count)
			_, sum := observed(want, seconds)
			assert.InEpsilon(t, sum/10_000, mean, 1e-6)
			assert.InEpsilon(t, quantileOf(want, 0.95), quantile(0.95), 0.03)
			continue
		}
		assert.Equal(t, "nova-api.latency.count:10000|c", lines[0])
		assert.InEpsilon(t, quantileOf(want, 0.5), valueOf(t, lines[2]), 0.03)
		assert.InEpsilon(t, quantileOf(want, 0.95), valueOf(t, lines[3]), 0.03)
	}
}

func valueOf(t *testing.T, line string) float64 {
	_, rest, _ := strings.Cut(line, ":")
	text, _, _ := strings.Cut(rest, "|")
	value, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return value
}

func TestExponentialHistogramsWithNegativesAndZero(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Histogram.Percentiles = []float64{10, 50, 90} })
	b.consume(exponentialOf([]float64{-4, -4, 0, 0, 0, 0, 0, 0, 4, 4}, 0, uuid(1), 1001, 1002, pmetric.AggregationTemporalityDelta))
	assert.Equal(t, []string{
		"nova-api.latency.count:10|c",
		"nova-api.latency.p10:0|g\nnova-api.latency.p10:-3|g", "nova-api.latency.p50:0|g", "nova-api.latency.p90:3|g",
	}, pairs(b.lines()))
}

// pairs joins the zero that stands before a negative gauge to it.
func pairs(lines []string) []string {
	var joined []string
	for _, line := range lines {
		if strings.Contains(line, ":-") {
			joined[len(joined)-1] += "\n" + line
		} else {
			joined = append(joined, line)
		}
	}
	return joined
}

func TestFarApartExponentialHistogramsStaySmall(t *testing.T) {
	b := newBench(t)
	delta := pmetric.AggregationTemporalityDelta
	b.consume(exponentialOf([]float64{1e-300, 1e-300}, 20, uuid(1), 1001, 1002, delta))
	b.consume(exponentialOf([]float64{1e300, 1e300}, 20, uuid(2), 1001, 1002, delta))
	observations := b.aggregator.catalog.order[0].observations
	assert.LessOrEqual(t, len(observations.exponents.positive.counts), maxBuckets)
	assert.Equal(t, "nova-api.latency.count:4|c", b.lines()[0])
	malformed := exponentialOf([]float64{1}, 20, uuid(1), 1001, 1002, delta)
	malformed.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).ExponentialHistogram().DataPoints().At(0).
		Positive().SetOffset(math.MaxInt32)
	b.consume(malformed)
	assert.EqualValues(t, 1, b.dropped(reasonMalformed))
}
