package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"slipway/plugin/store/storetest"
)

// Goals.
const (
	pageGoal     = 2.0
	planningGoal = 1.5
	cpuGoal      = 1.0  // percent of a core
	memoryGoal   = 64.0 // MB
)

// historyDays is how far the rows reach back.
const historyDays = 300

// compare measures both sizes on one kind of database.
func compare(ctx context.Context, o options, name string) (rows []row, err error) {
	work, err := os.MkdirTemp(o.work, "slipway-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	server := ""
	if name == postgresName {
		s, err := storetest.NewServer()
		if err != nil {
			return nil, err
		}
		defer func() { _ = s.Close() }()
		if err := s.Start(); err != nil {
			return nil, err
		}
		server = s.Address("")
	}
	both, err := fillBoth(ctx, o, work, server)
	if err != nil {
		return nil, err
	}
	if rows, err = measurePages(ctx, o, both); err != nil {
		return rows, err
	}
	planning, err := measurePlanning(ctx, o, both)
	return append(rows, planning...), err
}

// A pair is the small and the large database.
type pair struct{ small, large *database }

func fillBoth(ctx context.Context, o options, work, server string) (both pair, err error) {
	at := history{now: time.Now().UTC().Truncate(time.Second), days: historyDays}
	for _, one := range []struct {
		name string
		size size
		d    **database
	}{{"small", o.small, &both.small}, {"large", o.large, &both.large}} {
		if *one.d, err = newDatabase(ctx, work, one.name, server); err != nil {
			return both, err
		}
		begin := time.Now()
		bytes, err := (*one.d).fill(ctx, one.size, at)
		if err != nil {
			return both, fmt.Errorf("fill: %w", err)
		}
		fmt.Fprintf(os.Stderr, "%s database: %s: %d MB in %s\n", one.name, one.size, bytes>>20,
			time.Since(begin).Round(time.Millisecond))
	}
	return both, nil
}

// measurePages measures an idle gateway on the large database, and the pages of gateways on both.
func measurePages(ctx context.Context, o options, both pair) (rows []row, err error) {
	large, err := startGateway(ctx, o, both.large)
	defer func() { large.stop() }()
	if err != nil {
		return nil, err
	}
	if o.idle > 0 {
		if rows, err = measureIdle(ctx, o, large); err != nil {
			return nil, err
		}
	}
	small, err := startGateway(ctx, o, both.small)
	defer func() { small.stop() }()
	if err != nil {
		return rows, err
	}
	ofSmall, err := measuredPages(o.small)
	if err != nil {
		return rows, err
	}
	ofLarge, err := measuredPages(o.large)
	if err != nil {
		return rows, err
	}
	for i := range ofLarge {
		if i%10 == 0 {
			if err := errors.Join(both.small.refreshPermissions(ctx), both.large.refreshPermissions(ctx)); err != nil {
				return rows, err
			}
		}
		one, err := comparePage(ctx, o, small, large, ofSmall[i], ofLarge[i])
		if err != nil {
			return rows, err
		}
		rows = append(rows, one)
	}
	return rows, nil
}

// comparePage requests a page of both gateways in turns. The first request of each is for warming up.
func comparePage(ctx context.Context, o options, small, large *gateway, ofSmall, ofLarge page) (row, error) {
	var took [2][]time.Duration
	var bytes int64
	for round := range o.rounds + 1 {
		for i, one := range []struct {
			g *gateway
			p page
		}{{small, ofSmall}, {large, ofLarge}} {
			got, err := one.g.get(ctx, one.p.path, viewers()[one.p.viewer])
			if err != nil && one.g == large && ctx.Err() == nil { // no answer in the gateway's time limit
				return row{name: ofLarge.String(), small: medianTime(took[0]), large: err.Error(), failed: true}, nil
			}
			if err != nil {
				return row{}, err
			}
			if round > 0 {
				took[i] = append(took[i], got.took)
			}
			bytes = got.bytes
		}
	}
	return compared(ofLarge.String(), took[0], took[1], pageGoal, fmt.Sprintf(", %d KB", bytes>>10)), nil
}

// measureIdle measures a gateway without requests.
func measureIdle(ctx context.Context, o options, g *gateway) ([]row, error) {
	if err := pause(ctx, o.settle); err != nil {
		return nil, err
	}
	var cpu, memory []float64
	const parts = 6
	for range parts {
		before, err := g.cpu()
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := pause(ctx, o.idle/parts); err != nil {
			return nil, err
		}
		after, err := g.cpu()
		if err != nil {
			return nil, err
		}
		bytes, err := g.memory("VmRSS")
		if err != nil {
			return nil, err
		}
		cpu = append(cpu, 100*(after-before).Seconds()/time.Since(begin).Seconds())
		memory = append(memory, float64(bytes)/(1<<20))
	}
	return []row{
		{name: "idle: processor", small: "-", large: "-", ratios: cpu, goal: cpuGoal, unit: " %"},
		{name: "idle: memory", small: "-", large: "-", ratios: memory, goal: memoryGoal, unit: " MB"},
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
