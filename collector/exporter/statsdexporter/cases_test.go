// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// table is testdata/cases.json, which testdata/README.md describes: other senders of statsd are tested with it too.
type table struct {
	Began float64 `json:"began"`
	Cases []struct {
		Name   string         `json:"name"`
		Config map[string]any `json:"config"`
		Steps  []struct {
			At      float64           `json:"at"`
			Metrics []json.RawMessage `json:"metrics"`
			Lines   []string          `json:"lines"`
			Dropped map[string]int64  `json:"dropped"`
		} `json:"steps"`
		Collisions int `json:"collisions"`
	} `json:"cases"`
}

func readTable(t *testing.T) table {
	text, err := os.ReadFile(filepath.Join("testdata", "cases.json"))
	require.NoError(t, err)
	var read table
	require.NoError(t, json.Unmarshal(text, &read))
	require.NotEmpty(t, read.Cases)
	return read
}

func TestTheTable(t *testing.T) {
	read := readTable(t)
	for _, c := range read.Cases {
		t.Run(c.Name, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) {
				require.NoError(t, confmap.NewFromStringMap(c.Config).Unmarshal(cfg))
			})
			b.aggregator.begin(time.Unix(0, int64(read.Began*1e9)))
			for _, step := range c.Steps {
				b.clock = time.Unix(0, int64(step.At*1e9))
				for _, resource := range step.Metrics {
					b.consume(unmarshal(t, resource))
				}
				lines := b.lines()
				assert.Equal(t, append([]string{}, step.Lines...), append([]string{}, lines...), "at %v", step.At)
				for why, name := range reasonNames {
					assert.Equal(t, step.Dropped[name], b.stats.pointsDropped[why].Load()+b.stats.linesDropped[why].Load(), name)
				}
			}
			assert.Len(t, b.told, c.Collisions)
		})
	}
}

func unmarshal(t *testing.T, resource json.RawMessage) pmetric.Metrics {
	text, err := json.Marshal(map[string]any{"resourceMetrics": []json.RawMessage{resource}})
	require.NoError(t, err)
	var decoder pmetric.JSONUnmarshaler
	metrics, err := decoder.UnmarshalMetrics(text)
	require.NoError(t, err)
	return metrics
}
