// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
)

// statsdExporter takes batches in, and flushes what they add up to.
type statsdExporter struct {
	id         component.ID
	interval   time.Duration
	timeout    time.Duration
	logger     *zap.Logger
	telemetry  component.TelemetrySettings
	stats      *stats
	aggregator *aggregator
	encoder    *encoder
	target     *target
	sender     *sender

	registration metric.Registration
	stop         context.CancelFunc
	running      sync.WaitGroup
}

func newExporter(cfg *Config, set exporter.Settings) (*statsdExporter, error) {
	e := &statsdExporter{
		id: set.ID, interval: cfg.FlushInterval, timeout: cfg.WriteTimeout,
		logger: set.Logger, telemetry: set.TelemetrySettings, stats: &stats{},
	}
	var err error
	if e.aggregator, err = newAggregator(cfg, e.stats, e.collided); err != nil {
		return nil, err
	}
	e.encoder = newEncoder(cfg, e.stats)
	e.target = newTarget(cfg, e.unresolved)
	e.sender = newSender(cfg, e.target, e.stats, e.unsendable)
	return e, nil
}

func (e *statsdExporter) start(context.Context, component.Host) error {
	if err := e.register(e.telemetry); err != nil {
		return err
	}
	e.aggregator.begin(time.Now())
	var ctx context.Context
	ctx, e.stop = context.WithCancel(context.Background())
	e.running.Add(2)
	go func() {
		defer e.running.Done()
		e.target.run(ctx)
	}()
	go func() {
		defer e.running.Done()
		e.run(ctx)
	}()
	return nil
}

func (e *statsdExporter) consume(_ context.Context, batch pmetric.Metrics) error {
	e.aggregator.consume(batch, time.Now())
	return nil
}

// run flushes at each interval; a flush that the rate limit makes longer is followed by the next one at once.
func (e *statsdExporter) run(ctx context.Context) {
	ticker := time.NewTicker(e.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.flush(ctx, context.Background(), time.Now())
		}
	}
}

// flush sends what every series has to say, until halt ends. Points are taken in meanwhile: the lock is held for a
// packet's lines at a time. What the rate limit holds back when hurry ends is dropped.
func (e *statsdExporter) flush(halt, hurry context.Context, now time.Time) {
	e.aggregator.mu.Lock()
	e.aggregator.sweep(now)
	count := len(e.aggregator.catalog.order)
	e.aggregator.mu.Unlock()
	for next := 0; next < count && halt.Err() == nil; {
		next = e.fill(next, count)
		e.send(hurry)
	}
	e.encoder.packets.finish()
	e.send(hurry)
	e.sender.settle()
}

// fill encodes series from the given one on until a packet is full, and returns the one to go on with.
func (e *statsdExporter) fill(next, count int) int {
	e.aggregator.mu.Lock()
	defer e.aggregator.mu.Unlock()
	for ; next < count && len(e.encoder.packets.full) == 0; next++ {
		e.encoder.encode(e.aggregator.catalog.order[next])
	}
	return next
}

func (e *statsdExporter) send(ctx context.Context) {
	packets := &e.encoder.packets
	for _, one := range packets.full {
		e.sender.send(ctx, packets.payload(one), one.lines)
	}
	packets.reset()
}

// shutdown sends what is left, within twice the write timeout or what the collector gives, whichever is shorter.
func (e *statsdExporter) shutdown(ctx context.Context) error {
	if e.stop == nil {
		return nil // never started
	}
	e.stop()
	e.running.Wait()
	ctx, cancel := context.WithTimeout(ctx, 2*e.timeout)
	defer cancel()
	e.flush(context.Background(), ctx, time.Now())
	e.sender.disconnect()
	if e.registration != nil {
		return e.registration.Unregister()
	}
	return nil
}

func (e *statsdExporter) collided(pair collision) {
	e.stats.collisions.Add(1)
	e.logger.Warn("Two metrics have one name in statsd and are added up; a template under names::metrics tells them apart",
		zap.String("name", pair.name), zap.String("first", pair.first), zap.String("second", pair.second))
}

func (e *statsdExporter) unresolved(err error, first bool) {
	e.stats.errors.Add(1)
	if !first {
		return
	}
	e.logger.Warn("The endpoint's name does not resolve; what was known of it stays in use", zap.Error(err))
}

func (e *statsdExporter) unsendable(err error) {
	e.logger.Warn("Sending to statsd fails; lines are dropped and counted until it works again", zap.Error(err))
}
