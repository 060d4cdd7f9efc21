// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

func TestACounterThatStartedBeforeUsIsABaseline(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: 100, start: 900, time: 1001}))
	assert.Empty(t, b.lines())
	b.consume(counter(uuid(1), point{value: 103, start: 900, time: 1002}))
	assert.Equal(t, []string{"nova-api.requests:3|c"}, b.lines())
	assert.Empty(t, b.lines(), "nothing new is not sent")
}

func TestACounterThatStartedAfterUsCountsFromItsFirstPoint(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: 7, start: 1001, time: 1002}))
	assert.Equal(t, []string{"nova-api.requests:7|c"}, b.lines())
}

func TestResetsAreSeenByStartAndByDecrease(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: 10, start: 1001, time: 1002}))
	b.consume(counter(uuid(1), point{value: 12, start: 1003, time: 1004})) // a higher value after a restart
	assert.Equal(t, []string{"nova-api.requests:22|c"}, b.lines())
	b.consume(counter(uuid(1), point{value: 5, start: 1003, time: 1005}))
	assert.Equal(t, []string{"nova-api.requests:5|c"}, b.lines())
}

func TestALatePointDoesNotLookLikeAReset(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: 10, start: 1001, time: 1005}))
	b.consume(counter(uuid(1), point{value: 8, start: 1001, time: 1004}))
	b.consume(counter(uuid(1), point{value: 11, start: 1001, time: 1006}))
	assert.Equal(t, []string{"nova-api.requests:11|c"}, b.lines())
	assert.EqualValues(t, 1, b.dropped(reasonLate))
}

func TestDeltasAreTakenAsTheyAre(t *testing.T) {
	b := newBench(t)
	delta := func(value any) pmetric.Metrics {
		return sum("requests", true, pmetric.AggregationTemporalityDelta, uuid(1), point{value: value, start: 900, time: 1001})
	}
	b.consume(delta(3))
	b.consume(delta(0.5))
	assert.Equal(t, []string{"nova-api.requests:3.5|c"}, b.lines())
}

func TestEightWorkersFoldToOneName(t *testing.T) {
	b := newBench(t)
	for worker := range 8 {
		b.consume(counter(uuid(worker), point{value: 10 + worker, start: 1001, time: 1002}))
		b.consume(updown(uuid(worker), point{value: worker, start: 1001, time: 1002}))
		b.consume(gauge("temperature", uuid(worker), point{value: 20 + worker, time: 1002}))
	}
	assert.Equal(t, []string{"nova-api.requests:108|c", "nova-api.active:28|g", "nova-api.temperature:27|g"}, b.lines())
}

func TestGaugesCombineByRule(t *testing.T) {
	for name, want := range map[string]string{"sum": "9", "max": "5", "min": "1", "last": "3", "avg": "3"} {
		b := newBench(t, func(c *Config) { c.Combine = map[string]string{"temp*": name, "temper*e": name} })
		for worker, value := range []int{5, 1, 3} {
			b.consume(gauge("temperature", uuid(worker), point{value: value, time: 1002 + float64(worker)}))
		}
		assert.Equal(t, []string{"nova-api.temperature:" + want + "|g"}, b.lines(), name)
	}
}

func TestAWorkerThatIsGoneLeavesTheSum(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Staleness = time.Minute })
	b.consume(updown(uuid(1), point{value: 3, time: 1001}))
	b.consume(updown(uuid(2), point{value: 4, time: 1001}))
	assert.Equal(t, []string{"nova-api.active:7|g"}, b.lines())
	b.clock = began.Add(50 * time.Second)
	b.consume(updown(uuid(2), point{value: 4, time: 1050}))
	b.clock = began.Add(70 * time.Second)
	assert.Equal(t, []string{"nova-api.active:4|g"}, b.lines())
	b.clock = began.Add(200 * time.Second)
	assert.Equal(t, []string{"nova-api.active:0|g"}, b.lines(), "the last one left")
	assert.Empty(t, b.lines())
	assert.Zero(t, b.aggregator.streams)
	b.aggregator.sweep(b.clock)
	assert.Empty(t, b.aggregator.catalog.order)
	assert.Empty(t, b.aggregator.catalog.taken)
}

func TestAGaugeThatIsNotReportedAnyMoreLeavesThoughItsProcessLives(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Staleness = time.Minute })
	b.consume(gauge("temperature", uuid(1), point{value: 3, time: 1001}))
	b.clock = began.Add(90 * time.Second)
	b.consume(counter(uuid(1), point{value: 3, start: 1001, time: 1090}))
	assert.Equal(t, []string{"nova-api.requests:3|c"}, b.lines())
}

func TestAProcessThatSpeaksAgainIsNotCountedTwice(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Staleness = time.Minute })
	b.consume(counter(uuid(1), point{value: 100, start: 1001, time: 1002}))
	assert.Equal(t, []string{"nova-api.requests:100|c"}, b.lines())
	b.clock = began.Add(5 * time.Minute)
	assert.Empty(t, b.lines())
	assert.Zero(t, b.aggregator.streams)
	b.consume(counter(uuid(1), point{value: 104, start: 1001, time: 1300}))
	b.consume(counter(uuid(1), point{value: 106, start: 1001, time: 1301}))
	assert.Equal(t, []string{"nova-api.requests:2|c"}, b.lines())
}

func TestAServiceNameLearnedLateDoesNotCountAgain(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: 100, start: 1001, time: 1002}))
	later := counter(uuid(1), point{value: 101, start: 1001, time: 1003})
	later.ResourceMetrics().At(0).Resource().Attributes().PutStr("service.name", "glance-api")
	b.consume(later)
	assert.Equal(t, []string{"nova-api.requests:100|c", "glance-api.requests:1|c"}, b.lines())
}

func TestTheOrderOfAttributesDoesNotMatter(t *testing.T) {
	b := newBench(t)
	first := counter(uuid(1), point{value: 10, start: 900, time: 1002})
	attributes := first.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes()
	attributes.PutStr("a", "1")
	attributes.PutStr("b", "2")
	b.consume(first)
	second := counter(uuid(1), point{value: 11, start: 900, time: 1003})
	attributes = second.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes()
	attributes.PutStr("b", "2")
	attributes.PutStr("a", "1")
	b.consume(second)
	assert.Equal(t, []string{"nova-api.requests.a.1.b.2:1|c"}, b.lines())
}

func TestValuesThatAreNoNumbersOrNegativeAreDropped(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: math.NaN(), start: 1001}, point{value: -1, start: 1001}))
	b.consume(gauge("g", uuid(1), point{value: math.Inf(1)}))
	assert.Empty(t, b.lines())
	assert.EqualValues(t, 2, b.dropped(reasonNotFinite))
	assert.EqualValues(t, 1, b.dropped(reasonNegative))
}

func TestLargeIntegersStayExact(t *testing.T) {
	b := newBench(t)
	b.consume(counter(uuid(1), point{value: int64(1<<62 + 1), start: 900}))
	b.consume(counter(uuid(1), point{value: int64(1<<62 + 1 + 1<<60 + 1), start: 900}))
	assert.Equal(t, []string{fmt.Sprintf("nova-api.requests:%d|c", 1<<60+1)}, b.lines())
}

func TestATotalTooLargeForAnIntegerGoesOnAsAFloat(t *testing.T) {
	b := newBench(t)
	for range 2 {
		b.consume(sum("requests", true, pmetric.AggregationTemporalityDelta, uuid(1), point{value: int64(math.MaxInt64)}))
	}
	assert.Equal(t, []string{"nova-api.requests:18446744073709552000|c"}, b.lines())
}

func TestStreamsAreBounded(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxStreams = 10 })
	for i := range 50 {
		b.consume(counter(uuid(i), point{value: 1, start: 1001, attributes: map[string]any{"n": i}}))
		b.consume(sum(fmt.Sprint("m", i), true, pmetric.AggregationTemporalityDelta, uuid(1), point{value: 1}))
	}
	assert.Len(t, b.lines(), 10)
	assert.EqualValues(t, 90, b.dropped(reasonTooManyStreams))
	assert.LessOrEqual(t, len(b.aggregator.processes), 10)
	for _, p := range b.aggregator.processes {
		assert.LessOrEqual(t, len(p.metrics), 10)
	}
}

func TestALongValueIsCutAndCounted(t *testing.T) {
	long := strings.Repeat("é", 5000)
	for flavor, line := range map[string]string{
		flavorEtsy: "nova-api.requests.url." + strings.Repeat("_", 50), flavorDogStatsD: "requests:3|c|#service.name:nova-api,url:" + strings.Repeat("é", 50),
		flavorInfluxDB: "requests,service.name=nova-api,url=" + strings.Repeat("_", 50), flavorGraphite: "requests;service.name=nova-api;url=" + strings.Repeat("_", 50),
	} {
		b := newBench(t, func(c *Config) { c.Flavor, c.MaxValueLength = flavor, 101 })
		b.consume(counter(uuid(1), point{value: 2, start: 1001, attributes: map[string]any{"url": long}}))
		b.consume(counter(uuid(1), point{value: 1, start: 1001, attributes: map[string]any{"url": long + "b"}}))
		if flavor != flavorDogStatsD {
			line += ":3|c"
		}
		assert.Equal(t, []string{line}, b.lines())
		assert.EqualValues(t, 2, b.stats.valuesCut.Load())
		require.Len(t, b.told, 1, "they are added up, and told")
		assert.Less(t, len(b.told[0].first), 2*longestRaw)
	}
}

func TestAnAttributeOf10kBIsNotKept(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Names.Default = "{metric}" })
	long := strings.Repeat("x", 10_000)
	b.consume(counter(uuid(1), point{value: 2, start: 1001, attributes: map[string]any{"url": long}}))
	assert.Equal(t, []string{"requests:2|c"}, b.lines())
	for _, p := range b.aggregator.processes {
		for _, m := range p.metrics {
			for key := range m.streams {
				assert.LessOrEqual(t, len(key), longestKey)
			}
		}
	}
	b.consume(sum(long, true, pmetric.AggregationTemporalityDelta, uuid(1), point{value: 1}, point{value: 1}))
	assert.Empty(t, b.lines())
	assert.EqualValues(t, 2, b.dropped(reasonTooLong), "a name is not cut: it would be another metric's")
}

func TestCollisionsAreToldOncePerPair(t *testing.T) {
	b := newBench(t)
	for worker := range 3 {
		for _, value := range []string{"a/b", "a_b", "a:b"} {
			b.consume(counter(uuid(worker), point{value: 1, start: 1001, attributes: map[string]any{"k": value}}))
		}
	}
	require.Len(t, b.told, 2)
	assert.Equal(t, "nova-api.requests.k.a_b", b.told[0].name)
	assert.Equal(t, []string{"nova-api.requests.k.a_b:9|c"}, b.lines(), "they are added up")

	b = newBench(t)
	b.consume(histogram(uuid(1), 1001, 1002, nil, []uint64{1}, 0.5))
	b.consume(sum("latency.count", true, pmetric.AggregationTemporalityDelta, uuid(1), point{value: 1}))
	require.Len(t, b.told, 1, "a derived name is taken too")
	assert.Equal(t, collision{"nova-api.latency.count", "latency service.name=nova-api", "latency.count service.name=nova-api"}, b.told[0])
}

func TestWorkersOfOneServiceDoNotCollide(t *testing.T) {
	b := newBench(t)
	for worker := range 8 {
		b.consume(counter(uuid(worker), point{value: 1, start: 1001, attributes: map[string]any{"k": "v"}}))
	}
	assert.Empty(t, b.told)
}

func TestAnUpDownCounterOfDeltasAddsUp(t *testing.T) {
	b := newBench(t)
	for _, value := range []int{5, -2} {
		b.consume(sum("active", false, pmetric.AggregationTemporalityDelta, uuid(1), point{value: value, time: 1001}))
	}
	assert.Equal(t, []string{"nova-api.active:3|g"}, b.lines())
}

func TestNoRecordedValueEndsAGauge(t *testing.T) {
	b := newBench(t)
	b.consume(gauge("g", uuid(1), point{value: 5, time: 1001}))
	assert.Len(t, b.lines(), 1)
	ended := gauge("g", uuid(1), point{time: 1002})
	ended.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0).
		SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	b.consume(ended)
	assert.Empty(t, b.lines())
}

func TestSummaries(t *testing.T) {
	b := newBench(t)
	for i, worker := range []int{1, 2} {
		metrics, into := batch(uuid(worker))
		m := into.AppendEmpty()
		m.SetName("old")
		p := m.SetEmptySummary().DataPoints().AppendEmpty()
		p.SetStartTimestamp(stamp(1001))
		p.SetTimestamp(stamp(1002))
		p.SetCount(4)
		p.SetSum(2.5)
		q := p.QuantileValues().AppendEmpty()
		q.SetQuantile(0.999)
		q.SetValue(float64(i + 1))
		b.consume(metrics)
	}
	assert.Equal(t, []string{"nova-api.old.count:8|c", "nova-api.old.sum:5|c", "nova-api.old.p99_9:2|g"}, b.lines())
}

func TestTheOldestOfManyDeadProcessesAreForgottenInTurn(t *testing.T) {
	f := forgotten{until: map[string]pcommon.Timestamp{}}
	for i := range mostForgotten + 10 {
		f.add(fmt.Sprint(i), 1)
		f.add(fmt.Sprint(i), 2)
	}
	assert.Len(t, f.until, mostForgotten)
	assert.NotContains(t, f.until, "9")
	assert.EqualValues(t, 2, f.until["10"])
	assert.Contains(t, f.until, fmt.Sprint(mostForgotten+9))
}
