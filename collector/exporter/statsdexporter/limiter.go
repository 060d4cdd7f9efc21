// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"context"
	"time"
)

// limiter spaces packets: a bucket for their number and one for their bytes, each filled by the rate and as large as a
// fiftieth of a second of it, so that a flush is no burst: Linux keeps some 90 packets for a daemon that does not read just
// now, and what does not fit is lost without a word.
type limiter struct {
	packets, bytes bucket
}

type bucket struct {
	rate, size, level float64 // a rate of zero is no limit
	at                time.Time
}

func newLimiter(c RateLimitConfig, packetSize int) *limiter {
	return &limiter{
		packets: newBucket(float64(c.PacketsPerSecond), 1),
		bytes:   newBucket(float64(c.BytesPerSecond), float64(packetSize)),
	}
}

func newBucket(rate, least float64) bucket {
	size := max(rate/50, least)
	return bucket{rate: rate, size: size, level: size}
}

// take lets the level fall below zero and returns how long it takes until it is zero again.
func (b *bucket) take(amount float64, now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if !b.at.IsZero() {
		b.level = min(b.size, b.level+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	b.level -= amount
	if b.level >= 0 {
		return 0
	}
	return time.Duration(-b.level / b.rate * float64(time.Second))
}

// wait blocks until a packet of the size may go; false when the context ended first.
func (l *limiter) wait(ctx context.Context, size int) bool {
	now := time.Now()
	pause := max(l.packets.take(1, now), l.bytes.take(float64(size), now))
	if pause <= 0 {
		return ctx.Err() == nil
	}
	return sleep(ctx, pause)
}
