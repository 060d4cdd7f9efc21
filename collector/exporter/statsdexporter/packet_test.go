// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPacketsAreFilledAndNeverTooLarge(t *testing.T) {
	for _, transport := range transports {
		for _, limit := range []int{64, 65, 100, 512, 1432} {
			b := newBench(t, func(c *Config) {
				c.MaxPacketSize, c.Transport, c.Names.Default = limit, transport, "{metric}"
				if transport == transportUnixgram {
					c.Endpoint = "/run/statsd"
				}
			})
			for i := range 500 {
				b.consume(gauge(fmt.Sprint("m", strings.Repeat("x", i%10), i), uuid(1), point{value: i - 250}))
			}
			var lines, size int
			for _, p := range b.packets() {
				assert.LessOrEqual(t, len(p), limit)
				assert.Equal(t, transport == transportTCP, strings.HasSuffix(p, "\n"))
				lines += strings.Count(strings.TrimSuffix(p, "\n"), "\n") + 1
				size += len(p)
				assertPairs(t, p)
			}
			assert.Equal(t, 750, lines)
			assert.Zero(t, b.stats.linesDropped[reasonTooLong].Load())
		}
	}
}

// assertPairs: a negative gauge and the zero before it stand in one packet.
func assertPairs(t *testing.T, packet string) {
	lines := strings.Split(packet, "\n")
	for i, line := range lines {
		name, rest, negative := strings.Cut(line, ":-")
		if _, after, isGauge := strings.Cut(rest, "|g"); negative && isGauge && assert.Positive(t, i, packet) {
			assert.Equal(t, name+":0|g"+after, lines[i-1])
		}
	}
}

func TestALineLongerThanAPacketIsDroppedAndCounted(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxPacketSize, c.Names.Default = 64, "{metric}" })
	b.consume(gauge(strings.Repeat("x", 60), uuid(1), point{value: 1.0})) // 60 + ":1|g" is just right
	b.consume(gauge(strings.Repeat("y", 60), uuid(1), point{value: 12}))  // one more
	b.consume(gauge(strings.Repeat("z", 30), uuid(1), point{value: -1}))  // with its zero: 68
	b.consume(gauge("short", uuid(1), point{value: 2}))
	assert.Equal(t, []string{strings.Repeat("x", 60) + ":1|g", "short:2|g"}, b.lines())
	assert.EqualValues(t, 3, b.stats.linesDropped[reasonTooLong].Load())
}
