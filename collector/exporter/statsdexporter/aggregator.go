// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

type kind uint8

const (
	kindCounter kind = iota
	kindGauge
	kindHistogram
	kindExponential
)

// onWire is what kinds are the same series as.
func (k kind) onWire() kind {
	if k == kindExponential {
		return kindHistogram
	}
	return k
}

// stream is one set of attributes of one metric of one process.
type stream struct {
	series     *series // nil: its name is too long, or no more series are taken
	reason     reason  // why there is no series
	generation int
	seen       time.Time

	cumulative
	number  number // a counter's last cumulative value, or what a gauge shows
	moved   pcommon.Timestamp
	showing bool   // the gauge's series counts it in
	arrived uint64 // where the gauge's point came in the order of all

	explicit    *explicitHistory
	exponential *exponentialHistory
}

// began is when the stream says that it began to count.
func (s *stream) began() pcommon.Timestamp {
	switch {
	case s.explicit != nil:
		return s.explicit.start
	case s.exponential != nil:
		return s.exponential.start
	default:
		return s.start
	}
}

// aggregator keeps what is known of every process and what is to be sent of every series.
type aggregator struct {
	mu        sync.Mutex
	began     pcommon.Timestamp
	now       time.Time
	staleness time.Duration
	limit     int
	longest   int // a name beyond it fits into no packet

	names   *namer
	combine patterns[rule]
	tell    func(collision)
	stats   *stats

	processes map[string]*process
	streams   int
	arrivals  uint64
	forgotten forgotten
	catalog   catalog

	keys        keyBuilder
	explicit    explicit
	spare       explicit
	exponential exponential
}

func newAggregator(cfg *Config, stats *stats, tell func(collision)) (*aggregator, error) {
	names, err := newNamer(cfg, &stats.valuesCut)
	if err != nil {
		return nil, err
	}
	combine := map[string]rule{}
	for pattern, name := range cfg.Combine {
		combine[pattern] = rules[name]
	}
	return &aggregator{
		staleness: cfg.Staleness, limit: cfg.MaxStreams, longest: cfg.MaxPacketSize,
		names: names, combine: newPatterns(combine), tell: tell, stats: stats,
		processes: map[string]*process{}, forgotten: forgotten{until: map[string]pcommon.Timestamp{}},
		catalog: newCatalog(cfg), keys: newKeyBuilder(),
	}, nil
}

// begin sets the time before which counters are taken to have begun elsewhere.
func (a *aggregator) begin(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began = pcommon.NewTimestampFromTime(now)
}

func (a *aggregator) consume(batch pmetric.Metrics, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now
	resources := batch.ResourceMetrics()
	for i := range resources.Len() {
		resource := resources.At(i)
		from := a.process(resource.Resource().Attributes())
		scopes := resource.ScopeMetrics()
		for j := range scopes.Len() {
			scope := scopes.At(j)
			metrics := scope.Metrics()
			for k := range metrics.Len() {
				a.metric(from, scope.Scope(), metrics.At(k))
			}
		}
	}
}

func (a *aggregator) process(resource pcommon.Map) *process {
	key := a.keys.identify(resource)
	p, known := a.processes[string(key)]
	if !known {
		if len(a.processes) >= a.limit {
			return nil
		}
		p = &process{key: string(key), metrics: map[metricKey]*instrument{}}
		p.began = max(a.began, a.forgotten.until[p.key])
		a.processes[p.key] = p
	}
	p.seen = a.now
	if described := a.keys.attributes(resource); p.described != string(described) {
		p.described = string(described)
		p.attributes = plain(resource)
		p.generation++
	}
	return p
}

func (a *aggregator) metric(from *process, scope pcommon.InstrumentationScope, m pmetric.Metric) {
	switch {
	case len(m.Name()) > a.longest:
		a.stats.pointsDropped[reasonTooLong].Add(int64(pointCount(m)))
		return
	case from == nil:
		a.stats.pointsDropped[reasonTooManyStreams].Add(int64(pointCount(m)))
		return
	}
	key := metricKey{scope: scope.Name(), version: scope.Version(), name: m.Name()}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		key.kind = kindGauge
		a.gauges(from, a.known(from, key, a.rule(key.name, ruleLast)), m.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		a.sum(from, key, m.Sum())
	case pmetric.MetricTypeHistogram:
		a.histogram(from, key, m.Histogram())
	case pmetric.MetricTypeExponentialHistogram:
		a.exponentialHistogram(from, key, m.ExponentialHistogram())
	case pmetric.MetricTypeSummary:
		a.summary(from, key, m.Summary())
	default:
		a.drop(reasonUnsupported)
	}
}

func (a *aggregator) rule(name string, otherwise rule) rule { return a.combine.find(name, otherwise) }

// known finds or makes a metric of a process. At the limit of streams it makes one that holds nothing and is not kept.
func (a *aggregator) known(p *process, key metricKey, combined rule) *instrument {
	m, known := p.metrics[key]
	if !known && a.streams >= a.limit {
		return &instrument{metricKey: key}
	}
	if !known {
		key.scope, key.version, key.name = strings.Clone(key.scope), strings.Clone(key.version), strings.Clone(key.name)
		key.suffix = strings.Clone(key.suffix)
		m = &instrument{metricKey: key, rule: combined, streams: map[string]*stream{}}
		p.metrics[key] = m
	}
	return m
}

// stream finds or makes the stream of a point; nil means that the point was counted as dropped.
func (a *aggregator) stream(from *process, m *instrument, set pcommon.Map) *stream {
	key := a.keys.attributes(set)
	s, known := m.streams[string(key)]
	if !known {
		if a.streams >= a.limit {
			a.drop(reasonTooManyStreams)
			return nil
		}
		s = &stream{}
		m.streams[string(key)] = s
		a.streams++
	}
	if s.generation != from.generation {
		a.name(from, m, s, set)
	}
	s.seen = a.now
	if s.series == nil {
		a.drop(s.reason)
		return nil
	}
	return s
}

// name gives a stream its series, also when its process has new attributes.
func (a *aggregator) name(from *process, m *instrument, s *stream, set pcommon.Map) {
	a.catalog.leave(s)
	s.generation = from.generation
	id := a.names.identify(m.name, plain(set), from.attributes)
	id.name += m.suffix
	if len(id.name)+len(id.inline)+len(id.tail) > a.longest {
		s.reason = reasonTooLong
		return
	}
	a.catalog.join(s, m, id, a.tell)
}

func (a *aggregator) drop(why reason) { a.stats.pointsDropped[why].Add(1) }

func (a *aggregator) sum(from *process, key metricKey, sum pmetric.Sum) {
	key.delta = sum.AggregationTemporality() == pmetric.AggregationTemporalityDelta
	if !key.delta && sum.AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
		a.stats.pointsDropped[reasonUnsupported].Add(int64(sum.DataPoints().Len()))
		return
	}
	if sum.IsMonotonic() {
		key.kind = kindCounter
		a.counters(from, a.known(from, key, ruleSum), sum.DataPoints())
		return
	}
	key.kind = kindGauge
	a.gauges(from, a.known(from, key, a.rule(key.name, ruleSum)), sum.DataPoints())
}

func (a *aggregator) counters(from *process, m *instrument, points pmetric.NumberDataPointSlice) {
	for i := range points.Len() {
		point := points.At(i)
		if point.Flags().NoRecordedValue() {
			continue
		}
		if s := a.stream(from, m, point.Attributes()); s != nil {
			a.count(from, m, s, numberOf(point), point.StartTimestamp(), point.Timestamp())
		}
	}
}

func (a *aggregator) count(from *process, m *instrument, s *stream, value number, start, time pcommon.Timestamp) {
	switch {
	case !value.finite():
		a.drop(reasonNotFinite)
		return
	case value.negative():
		a.drop(reasonNegative)
		return
	}
	if m.delta {
		s.series.count(value)
		return
	}
	last := s.number
	switch s.cumulative.advance(start, time, from.began, value.less(last)) {
	case progressLate:
		a.drop(reasonLate)
		return
	case progressFirst, progressReset:
		s.series.count(value)
	case progressForward:
		s.series.count(value.minus(last))
	case progressBaseline:
	}
	s.number = value
}

func (a *aggregator) gauges(from *process, m *instrument, points pmetric.NumberDataPointSlice) {
	for i := range points.Len() {
		point := points.At(i)
		s := a.stream(from, m, point.Attributes())
		if s == nil {
			continue
		}
		if point.Flags().NoRecordedValue() {
			s.seen = time.Time{} // its end was told: no need to wait until it is stale
			continue
		}
		a.show(m, s, numberOf(point), point.Timestamp())
	}
}

func (a *aggregator) show(m *instrument, s *stream, value number, time pcommon.Timestamp) {
	switch {
	case !value.finite():
		a.drop(reasonNotFinite)
		return
	case time != 0 && time < s.moved && !m.delta:
		a.drop(reasonLate)
		return
	}
	if m.delta {
		sum := total{}
		sum.add(s.number)
		sum.add(value)
		value = sum.number()
	}
	a.arrivals++
	s.number, s.moved, s.arrived = value, time, a.arrivals
	s.series.show(s)
}

func (a *aggregator) histogram(from *process, key metricKey, histogram pmetric.Histogram) {
	key.kind = kindHistogram
	points := histogram.DataPoints()
	if !a.temporality(&key, histogram.AggregationTemporality(), points.Len()) {
		return
	}
	m := a.known(from, key, ruleSum)
	for i := range points.Len() {
		point := points.At(i)
		if point.Flags().NoRecordedValue() {
			continue
		}
		s := a.stream(from, m, point.Attributes())
		if s == nil {
			continue
		}
		if !a.explicit.read(point) {
			a.drop(reasonMalformed)
			continue
		}
		if a.advanceExplicit(from, m, s, point.StartTimestamp(), point.Timestamp()) {
			s.series.observed().addExplicit(&a.explicit)
		}
	}
}

func (a *aggregator) advanceExplicit(from *process, m *instrument, s *stream, start, time pcommon.Timestamp) bool {
	if m.delta {
		return a.explicit.count > 0
	}
	if s.explicit == nil {
		s.explicit = &explicitHistory{}
	}
	moved, fresh := s.explicit.advance(&a.explicit, &a.spare, start, time, from.began)
	if moved == progressLate {
		a.drop(reasonLate)
	}
	return fresh
}

func (a *aggregator) exponentialHistogram(from *process, key metricKey, histogram pmetric.ExponentialHistogram) {
	key.kind = kindExponential
	points := histogram.DataPoints()
	if !a.temporality(&key, histogram.AggregationTemporality(), points.Len()) {
		return
	}
	m := a.known(from, key, ruleSum)
	for i := range points.Len() {
		point := points.At(i)
		if point.Flags().NoRecordedValue() {
			continue
		}
		s := a.stream(from, m, point.Attributes())
		if s == nil {
			continue
		}
		if !a.exponential.read(point) {
			a.drop(reasonMalformed)
			continue
		}
		if a.advanceExponential(from, m, s, point.StartTimestamp(), point.Timestamp()) {
			s.series.observed().addExponential(&a.exponential)
		}
	}
}

func (a *aggregator) advanceExponential(from *process, m *instrument, s *stream, start, time pcommon.Timestamp) bool {
	if m.delta {
		return a.exponential.count > 0
	}
	if s.exponential == nil {
		s.exponential = &exponentialHistory{}
	}
	moved, fresh := s.exponential.advance(&a.exponential, start, time, from.began)
	if moved == progressLate {
		a.drop(reasonLate)
	}
	return fresh
}

func (a *aggregator) temporality(key *metricKey, temporality pmetric.AggregationTemporality, points int) bool {
	key.delta = temporality == pmetric.AggregationTemporalityDelta
	if key.delta || temporality == pmetric.AggregationTemporalityCumulative {
		return true
	}
	a.stats.pointsDropped[reasonUnsupported].Add(int64(points))
	return false
}

// summary becomes two counters and a gauge for each quantile; quantiles of several processes have no sum, so the highest shows.
func (a *aggregator) summary(from *process, key metricKey, summary pmetric.Summary) {
	points := summary.DataPoints()
	for i := range points.Len() {
		point := points.At(i)
		if point.Flags().NoRecordedValue() {
			continue
		}
		part := key
		part.kind = kindCounter
		start, time := point.StartTimestamp(), point.Timestamp()
		part.suffix = suffixCount
		a.countPart(from, part, point.Attributes(), ofCount(point.Count()), start, time)
		part.suffix = suffixSum
		a.countPart(from, part, point.Attributes(), ofFloat(point.Sum()), start, time)
		part.kind = kindGauge
		for j := range point.QuantileValues().Len() {
			quantile := point.QuantileValues().At(j)
			part.suffix = percentileSuffix(quantile.Quantile() * 100)
			m := a.known(from, part, a.rule(key.name, ruleMax))
			if s := a.stream(from, m, point.Attributes()); s != nil {
				a.show(m, s, ofFloat(quantile.Value()), time)
			}
		}
	}
}

func (a *aggregator) countPart(from *process, key metricKey, set pcommon.Map, value number, start, time pcommon.Timestamp) {
	m := a.known(from, key, ruleSum)
	if s := a.stream(from, m, set); s != nil {
		a.count(from, m, s, value, start, time)
	}
}

// sweep gives up the state of processes that have been silent for too long, and of gauges that are not reported any more.
func (a *aggregator) sweep(now time.Time) {
	oldest := now.Add(-a.staleness)
	for key, p := range a.processes {
		if p.seen.Before(oldest) {
			a.forget(p)
			delete(a.processes, key)
			continue
		}
		a.sweepGauges(p, oldest)
	}
	a.catalog.compact()
}

func (a *aggregator) forget(p *process) {
	until := pcommon.NewTimestampFromTime(p.seen)
	for _, m := range p.metrics {
		for _, s := range m.streams {
			a.catalog.leave(s)
			until = max(until, s.began()) // its clock may be ahead of ours
		}
		a.streams -= len(m.streams)
	}
	a.forgotten.add(p.key, until)
}

func (a *aggregator) sweepGauges(p *process, oldest time.Time) {
	for _, m := range p.metrics {
		if m.kind != kindGauge {
			continue
		}
		for key, s := range m.streams {
			if s.seen.Before(oldest) {
				a.catalog.leave(s)
				delete(m.streams, key)
				a.streams--
			}
		}
	}
}

func pointCount(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	default:
		return 0
	}
}

// catalog has every series by its name and kind, in the order in which they were first seen.
type catalog struct {
	byKey    map[seriesKey]*series
	order    []*series
	taken    map[string]*series // by the text before the value, so that also derived names are told apart
	told     map[[2]string]bool
	suffixes []string // of a histogram
}

type seriesKey struct {
	name, inline, tail string
	kind               kind
}

// collision is two that cannot be told apart on the wire.
type collision struct {
	name, first, second string
}

const mostTold = 1000

func newCatalog(cfg *Config) catalog {
	return catalog{
		byKey: map[seriesKey]*series{}, taken: map[string]*series{}, told: map[[2]string]bool{},
		suffixes: histogramSuffixes(cfg),
	}
}

func (c *catalog) join(s *stream, m *instrument, id identity, tell func(collision)) {
	key := seriesKey{id.name, id.inline, id.tail, m.kind.onWire()}
	found, known := c.byKey[key]
	if !known {
		found = &series{identity: id, kind: key.kind, rule: m.rule, described: describe(m, id)}
		c.byKey[key] = found
		c.order = append(c.order, found)
	}
	c.claim(found, describe(m, id), tell)
	found.members++
	s.series = found
}

func describe(m *instrument, id identity) string {
	return strings.NewReplacer("\x00", " ", "\x01", "=").Replace(id.raw) + m.suffix
}

// claim tells when a name on the wire already is something else's.
func (c *catalog) claim(s *series, described string, tell func(collision)) {
	for _, suffix := range c.suffixesOf(s) {
		name := s.name + suffix + s.inline + s.tail
		owner, taken := c.taken[name]
		if !taken {
			c.taken[name] = s
			continue
		}
		if owner == s && s.described == described {
			continue
		}
		if pair := [2]string{owner.described, described}; !c.told[pair] && len(c.told) < mostTold {
			c.told[pair] = true
			tell(collision{name, owner.described, described})
		}
	}
}

func (c *catalog) suffixesOf(s *series) []string {
	if s.kind == kindHistogram {
		return c.suffixes
	}
	return noSuffix
}

func (c *catalog) leave(s *stream) {
	if s.series == nil {
		return
	}
	s.series.hide(s)
	s.series.members--
	s.series = nil
}

// compact removes series without streams, when what they had is sent.
func (c *catalog) compact() {
	c.order = slices.DeleteFunc(c.order, func(s *series) bool {
		if s.members > 0 || s.pending() {
			return false
		}
		delete(c.byKey, seriesKey{s.name, s.inline, s.tail, s.kind})
		for _, suffix := range c.suffixesOf(s) {
			if name := s.name + suffix + s.inline + s.tail; c.taken[name] == s {
				delete(c.taken, name)
			}
		}
		return true
	})
}
