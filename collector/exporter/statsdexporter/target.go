// SPDX-License-Identifier: Apache-2.0

package statsdexporter

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// target is where to send. A name is resolved in a goroutine of its own, so that a resolver that hangs holds nothing up;
// again after each interval, and sooner when sending fails.
type target struct {
	fixed    string // an address or a path, which needs no resolving
	host     string
	port     string
	interval time.Duration
	lookup   func(ctx context.Context, host string) ([]string, error)
	failed   func(err error, first bool) // first: of a row
	failing  bool

	hint chan struct{}

	mu        sync.Mutex
	addresses []string
	current   string
}

const (
	lookupTimeout  = 5 * time.Second
	soonestLookup  = time.Second
	lookupAttempts = time.Second // between attempts as long as there is no address
)

func newTarget(cfg *Config, failed func(error, bool)) *target {
	t := &target{interval: cfg.ResolveInterval, hint: make(chan struct{}, 1), failed: failed, lookup: net.DefaultResolver.LookupHost}
	if cfg.Transport == transportUnixgram {
		t.fixed = cfg.Endpoint
		return t
	}
	host, port, _ := net.SplitHostPort(cfg.Endpoint)
	if net.ParseIP(host) != nil {
		t.fixed = cfg.Endpoint
	}
	t.host, t.port = host, port
	return t
}

// address is empty as long as the name was not resolved.
func (t *target) address() string {
	if t.fixed != "" {
		return t.fixed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

// doubt says that sending to the address failed: the next one of the name takes its place, and the name is looked up.
func (t *target) doubt(address string) {
	if t.fixed != "" {
		return
	}
	t.mu.Lock()
	if at := slices.Index(t.addresses, address); at >= 0 && address == t.current {
		t.current = t.addresses[(at+1)%len(t.addresses)]
	}
	t.mu.Unlock()
	select {
	case t.hint <- struct{}{}:
	default:
	}
}

// run resolves until the context ends.
func (t *target) run(ctx context.Context) {
	if t.fixed != "" {
		return
	}
	for {
		pause := t.interval
		if !t.resolve(ctx) {
			pause = min(pause, lookupAttempts)
		}
		if !t.rest(ctx, pause) {
			return
		}
	}
}

func (t *target) rest(ctx context.Context, pause time.Duration) bool {
	if !sleep(ctx, min(pause, soonestLookup)) {
		return false
	}
	timer := time.NewTimer(max(pause-soonestLookup, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-t.hint:
	}
	return true
}

func (t *target) resolve(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	hosts, err := t.lookup(ctx, t.host)
	if err != nil || len(hosts) == 0 {
		if err != nil && ctx.Err() != context.Canceled {
			t.failed(err, !t.failing)
			t.failing = true
		}
		return false // what was known stays in use
	}
	t.failing = false
	t.learn(hosts)
	return true
}

// learn keeps the address in use while the name still has it. IPv4 comes first: most daemons listen there only.
func (t *target) learn(hosts []string) {
	addresses := make([]string, 0, len(hosts))
	for _, host := range hosts {
		addresses = append(addresses, net.JoinHostPort(host, t.port))
	}
	slices.SortStableFunc(addresses, func(a, b string) int {
		return int(boolToCount(a[0] == '[')) - int(boolToCount(b[0] == '['))
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addresses = addresses
	if !slices.Contains(addresses, t.current) {
		t.current = addresses[0]
	}
}

func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
