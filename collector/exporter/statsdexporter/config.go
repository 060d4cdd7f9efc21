// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// Config of the exporter; README.md describes each key.
type Config struct {
	// Endpoint is host:port, or the path of a socket with transport unixgram.
	Endpoint string `mapstructure:"endpoint"`
	// Transport is udp, tcp or unixgram.
	Transport string `mapstructure:"transport"`
	// Flavor is etsy, dogstatsd, influxdb or graphite.
	Flavor string `mapstructure:"flavor"`
	// Prefix stands before every name, with a dot between.
	Prefix string `mapstructure:"prefix"`
	// FlushInterval is the time between two flushes; statsd's own should not be shorter.
	FlushInterval time.Duration `mapstructure:"flush_interval"`
	// MaxPacketSize is the payload of a packet in bytes, never exceeded.
	MaxPacketSize int `mapstructure:"max_packet_size"`
	// MaxValueLength is the bytes of an attribute's value that go into a name or a tag; the rest is cut off and counted.
	MaxValueLength int `mapstructure:"max_value_length"`
	// WriteTimeout bounds connecting and each write.
	WriteTimeout time.Duration `mapstructure:"write_timeout"`
	// ResolveInterval is the time between two resolutions of the endpoint's name; errors bring the next one forward.
	ResolveInterval time.Duration `mapstructure:"resolve_interval"`
	// Staleness is how long a process may be silent before its state is given up.
	Staleness time.Duration `mapstructure:"staleness"`
	// MaxStreams bounds the state: one stream is one set of attributes of one metric of one process.
	MaxStreams int `mapstructure:"max_streams"`
	// Combine tells by pattern of metric names how gauges of several processes become one: sum, max, min, last or avg.
	Combine map[string]string `mapstructure:"combine"`

	RateLimit RateLimitConfig `mapstructure:"rate_limit"`
	Reconnect ReconnectConfig `mapstructure:"reconnect"`
	Names     NamesConfig     `mapstructure:"names"`
	Tags      TagsConfig      `mapstructure:"tags"`
	Histogram HistogramConfig `mapstructure:"histogram"`

	QueueConfig configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
}

// RateLimitConfig bounds what is sent; a flush that has more takes longer. Zero is no limit.
type RateLimitConfig struct {
	PacketsPerSecond int `mapstructure:"packets_per_second"`
	BytesPerSecond   int `mapstructure:"bytes_per_second"`
}

// ReconnectConfig spaces the attempts to connect; the wait doubles from the first to the second.
type ReconnectConfig struct {
	InitialInterval time.Duration `mapstructure:"initial_interval"`
	MaxInterval     time.Duration `mapstructure:"max_interval"`
}

// NamesConfig makes a statsd name out of a metric's name and its attributes.
type NamesConfig struct {
	// Default is the template of metrics that no pattern matches.
	Default string `mapstructure:"default"`
	// Metrics has templates by pattern of metric names; an exact name wins, then the longest pattern.
	Metrics map[string]string `mapstructure:"metrics"`
	// Missing stands where an attribute is absent or empty.
	Missing string `mapstructure:"missing"`
}

// TagsConfig chooses the tags of the flavors that have them.
type TagsConfig struct {
	// ResourceAttributes become tags; those that tell processes apart should not be among them.
	ResourceAttributes []string `mapstructure:"resource_attributes"`
	// Exclude names attributes of data points that do not become tags.
	Exclude []string `mapstructure:"exclude"`
}

// HistogramConfig tells how distributions are sent.
type HistogramConfig struct {
	// Percentiles are computed here and sent as gauges, by every flavor but dogstatsd.
	Percentiles []float64 `mapstructure:"percentiles"`
	// Type of dogstatsd's samples: distribution, histogram or timing.
	Type string `mapstructure:"type"`
	// MaxSamples of dogstatsd stand for one series in one flush, and at least one for each bucket in use.
	MaxSamples int `mapstructure:"max_samples"`
}

const (
	transportUDP      = "udp"
	transportTCP      = "tcp"
	transportUnixgram = "unixgram"

	flavorEtsy      = "etsy"
	flavorDogStatsD = "dogstatsd"
	flavorInfluxDB  = "influxdb"
	flavorGraphite  = "graphite"

	minPacketSize = 64
	maxPacketSize = 65507 // what fits into a UDP datagram
)

var (
	transports   = []string{transportUDP, transportTCP, transportUnixgram}
	flavors      = []string{flavorEtsy, flavorDogStatsD, flavorInfluxDB, flavorGraphite}
	rules        = map[string]rule{"sum": ruleSum, "max": ruleMax, "min": ruleMin, "last": ruleLast, "avg": ruleAvg}
	sampleTypes  = map[string]string{"distribution": "d", "histogram": "h", "timing": "ms"}
	defaultNames = map[string]string{
		flavorEtsy:      "{service.name}.{metric}.{attributes}",
		flavorDogStatsD: "{metric}",
		flavorInfluxDB:  "{metric}",
		flavorGraphite:  "{metric}",
	}
)

func createDefaultConfig() component.Config {
	queue := exporterhelper.NewDefaultQueueConfig()
	queue.NumConsumers = 1
	queue.QueueSize = 100
	return &Config{
		Transport:       transportUDP,
		Flavor:          flavorEtsy,
		FlushInterval:   10 * time.Second,
		MaxPacketSize:   1432,
		MaxValueLength:  200,
		WriteTimeout:    time.Second,
		ResolveInterval: time.Minute,
		Staleness:       3 * time.Minute,
		MaxStreams:      100_000,
		RateLimit:       RateLimitConfig{PacketsPerSecond: 500},
		Reconnect:       ReconnectConfig{InitialInterval: 100 * time.Millisecond, MaxInterval: 5 * time.Second},
		Names:           NamesConfig{Missing: "none"},
		Tags:            TagsConfig{ResourceAttributes: []string{"service.name"}},
		Histogram:       HistogramConfig{Percentiles: []float64{50, 95, 99}, Type: "distribution", MaxSamples: 100},
		QueueConfig:     configoptional.Some(queue),
	}
}

// Validate names the key of everything that is wrong.
func (cfg *Config) Validate() error {
	return errors.Join(
		cfg.validateEndpoint(),
		oneOf("transport", cfg.Transport, transports),
		oneOf("flavor", cfg.Flavor, flavors),
		validateText("prefix", cfg.Prefix),
		between("max_packet_size", cfg.MaxPacketSize, minPacketSize, maxPacketSize),
		between("max_value_length", cfg.MaxValueLength, 1, maxPacketSize),
		positive("flush_interval", cfg.FlushInterval),
		positive("write_timeout", cfg.WriteTimeout),
		positive("resolve_interval", cfg.ResolveInterval),
		cfg.validateStaleness(),
		between("max_streams", cfg.MaxStreams, 1, 10_000_000),
		cfg.RateLimit.validate(cfg.MaxPacketSize),
		cfg.Reconnect.validate(),
		cfg.validateNames(),
		cfg.validateCombine(),
		cfg.Histogram.validate(),
		cfg.validateQueue(),
	)
}

func (cfg *Config) validateEndpoint() error {
	if cfg.Endpoint == "" {
		return errors.New("endpoint: missing; host:port, or with transport unixgram the path of a socket")
	}
	if cfg.Transport == transportUnixgram {
		// The kernel's sun_path has 108 bytes, one of them the terminator.
		if strings.ContainsRune(cfg.Endpoint, 0) || len(cfg.Endpoint) > 107 {
			return fmt.Errorf("endpoint: %q is not the path of a socket (at most 107 bytes)", cfg.Endpoint)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(cfg.Endpoint)
	if err != nil {
		return fmt.Errorf("endpoint: %q is not host:port: %w", cfg.Endpoint, err)
	}
	if host == "" {
		return fmt.Errorf("endpoint: %q has no host", cfg.Endpoint)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return fmt.Errorf("endpoint: port %q is not a number from 1 to 65535", port)
	}
	return nil
}

func (cfg *Config) validateStaleness() error {
	if cfg.Staleness < cfg.FlushInterval {
		return fmt.Errorf("staleness: %s is shorter than flush_interval (%s)", cfg.Staleness, cfg.FlushInterval)
	}
	return nil
}

func (c RateLimitConfig) validate(packet int) error {
	var errs []error
	if c.PacketsPerSecond < 0 {
		errs = append(errs, errors.New("rate_limit::packets_per_second: must not be negative; 0 is no limit"))
	}
	if c.BytesPerSecond < 0 || (c.BytesPerSecond > 0 && c.BytesPerSecond < packet) {
		errs = append(errs, fmt.Errorf("rate_limit::bytes_per_second: %d must be 0 (no limit) or at least max_packet_size (%d)",
			c.BytesPerSecond, packet))
	}
	return errors.Join(errs...)
}

func (c ReconnectConfig) validate() error {
	if err := positive("reconnect::initial_interval", c.InitialInterval); err != nil {
		return err
	}
	if c.MaxInterval < c.InitialInterval {
		return fmt.Errorf("reconnect::max_interval: %s is shorter than initial_interval (%s)", c.MaxInterval, c.InitialInterval)
	}
	return nil
}

func (cfg *Config) validateNames() error {
	errs := []error{validateText("names::missing", cfg.Names.Missing)}
	tagged := cfg.Flavor != flavorEtsy
	if cfg.Names.Default != "" {
		_, err := parseTemplate(cfg.Names.Default, tagged)
		errs = append(errs, at("names::default", err))
	}
	for _, pattern := range slices.Sorted(maps.Keys(cfg.Names.Metrics)) {
		_, err := parseTemplate(cfg.Names.Metrics[pattern], tagged)
		errs = append(errs, at("names::metrics::"+pattern, err))
	}
	return errors.Join(errs...)
}

func (cfg *Config) validateCombine() error {
	var errs []error
	for _, pattern := range slices.Sorted(maps.Keys(cfg.Combine)) {
		errs = append(errs, oneOf("combine::"+pattern, cfg.Combine[pattern], slices.Sorted(maps.Keys(rules))))
	}
	return errors.Join(errs...)
}

func (c HistogramConfig) validate() error {
	errs := []error{
		oneOf("histogram::type", c.Type, slices.Sorted(maps.Keys(sampleTypes))),
		between("histogram::max_samples", c.MaxSamples, 1, 10_000),
	}
	for i, percentile := range c.Percentiles {
		if !(percentile > 0 && percentile < 100) { // so that NaN is refused
			errs = append(errs, fmt.Errorf("histogram::percentiles[%d]: %v is not between 0 and 100", i, percentile))
		} else if slices.Contains(c.Percentiles[:i], percentile) {
			errs = append(errs, fmt.Errorf("histogram::percentiles[%d]: %v is there twice", i, percentile))
		}
	}
	return errors.Join(errs...)
}

func (cfg *Config) validateQueue() error {
	// With two, a cumulative point could overtake the one before it and look like a restart of its counter.
	if cfg.QueueConfig.HasValue() && cfg.QueueConfig.Get().NumConsumers != 1 {
		return fmt.Errorf("sending_queue::num_consumers: %d must be 1, which keeps points in order", cfg.QueueConfig.Get().NumConsumers)
	}
	return nil
}

func oneOf(key, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is none of %s", key, value, strings.Join(allowed, ", "))
}

func between(key string, value, low, high int) error {
	if value < low || value > high {
		return fmt.Errorf("%s: %d is not between %d and %d", key, value, low, high)
	}
	return nil
}

func positive(key string, value time.Duration) error {
	if value <= 0 {
		return fmt.Errorf("%s: %s must be more than 0", key, value)
	}
	return nil
}

// validateText refuses what would be replaced on its way, so that a name is what its configuration says.
func validateText(key, value string) error {
	for _, r := range value {
		if !nameSafe(r) {
			return fmt.Errorf("%s: %q must consist of letters, digits, '_', '-' and '.'", key, value)
		}
	}
	return nil
}

func at(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}
