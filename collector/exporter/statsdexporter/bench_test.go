// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	benchedWorkers = 8
	benchedSets    = 125
)

// workload is what eight workers of a service report: kind is of one metric with 125 sets of three attributes, four times.
func workload(kind pmetric.MetricType) (batches []pmetric.Metrics, points int) {
	for worker := range benchedWorkers {
		metrics, into := batch(uuid(worker))
		for m := range 4 {
			metric := into.AppendEmpty()
			metric.SetName(fmt.Sprint("http.server.request.duration.", m))
			for set := range benchedSets {
				attributes := newPoint(metric, kind)
				attributes.PutStr("http.request.method", "GET")
				attributes.PutStr("http.route", fmt.Sprint("/v2.1/{project_id}/servers/", set))
				attributes.PutInt("http.response.status_code", 200)
				points++
			}
		}
		batches = append(batches, metrics)
	}
	return batches, points
}

func newPoint(metric pmetric.Metric, kind pmetric.MetricType) pcommon.Map {
	switch kind {
	case pmetric.MetricTypeGauge:
		if metric.Type() != kind {
			metric.SetEmptyGauge()
		}
		return metric.Gauge().DataPoints().AppendEmpty().Attributes()
	case pmetric.MetricTypeSum:
		if metric.Type() != kind {
			metric.SetEmptySum().SetIsMonotonic(true)
			metric.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}
		return metric.Sum().DataPoints().AppendEmpty().Attributes()
	default:
		if metric.Type() != kind {
			metric.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}
		p := metric.Histogram().DataPoints().AppendEmpty()
		p.ExplicitBounds().FromRaw(seconds)
		p.BucketCounts().FromRaw(make([]uint64, len(seconds)+1))
		return p.Attributes()
	}
}

// step makes every point a new one.
func step(batches []pmetric.Metrics, round int) {
	now := stamp(float64(2000 + round))
	for _, metrics := range batches {
		ms := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		for i := range ms.Len() {
			stepMetric(ms.At(i), now, round)
		}
	}
}

func stepMetric(m pmetric.Metric, now pcommon.Timestamp, round int) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for i := range m.Gauge().DataPoints().Len() {
			m.Gauge().DataPoints().At(i).SetIntValue(int64(round))
			m.Gauge().DataPoints().At(i).SetTimestamp(now)
		}
	case pmetric.MetricTypeSum:
		for i := range m.Sum().DataPoints().Len() {
			m.Sum().DataPoints().At(i).SetIntValue(int64(round))
			m.Sum().DataPoints().At(i).SetTimestamp(now)
		}
	default:
		for i := range m.Histogram().DataPoints().Len() {
			p := m.Histogram().DataPoints().At(i)
			p.SetTimestamp(now)
			p.BucketCounts().SetAt(i%len(seconds), p.BucketCounts().At(i%len(seconds))+1)
			p.SetCount(p.Count() + 1)
			p.SetSum(float64(round))
		}
	}
}

// flushed encodes everything and throws it away.
func (b *bench) flushed() {
	b.aggregator.sweep(b.clock)
	for _, s := range b.aggregator.catalog.order {
		b.encoder.encode(s)
		if len(b.encoder.packets.full) > 0 {
			b.encoder.packets.reset()
		}
	}
	b.encoder.packets.finish()
	b.encoder.packets.reset()
}

var benched = map[string]pmetric.MetricType{
	"counters": pmetric.MetricTypeSum, "gauges": pmetric.MetricTypeGauge, "histograms": pmetric.MetricTypeHistogram,
}

// BenchmarkPoints is the way of a point from a batch to a packet; nine batches are taken in between two flushes.
func BenchmarkPoints(b *testing.B) {
	for name, kind := range benched {
		for _, flavor := range []string{flavorEtsy, flavorDogStatsD} {
			b.Run(name+"/"+flavor, func(b *testing.B) {
				bench := newBench(b, func(c *Config) { c.Flavor = flavor })
				batches, points := workload(kind)
				round, taken := 0, 0
				var spent time.Duration
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					round++
					step(batches, round)
					b.StartTimer()
					began := time.Now()
					for _, metrics := range batches {
						bench.consume(metrics)
					}
					if round%9 == 0 {
						bench.flushed()
					}
					spent += time.Since(began)
					taken += points
				}
				b.ReportMetric(float64(taken)/spent.Seconds(), "points/s")
			})
		}
	}
}

// What was seen before costs no memory: the steady state makes no garbage.
func TestTheSteadyStateAllocatesNothing(t *testing.T) {
	for name, kind := range benched {
		for _, flavor := range []string{flavorEtsy, flavorDogStatsD} {
			bench := newBench(t, func(c *Config) { c.Flavor = flavor })
			batches, points := workload(kind)
			var allocated uint64
			for round := range 15 {
				step(batches, round) // allocates, so it is left out
				before := mallocs()
				for _, metrics := range batches {
					bench.consume(metrics)
				}
				bench.flushed()
				if round >= 5 {
					allocated += mallocs() - before
				}
			}
			// The runtime's own work is counted too.
			assert.Less(t, allocated, uint64(points/100), name+" "+flavor)
		}
	}
}

func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}
