package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of the cases.
const (
	caseCold      = "cold"      // empty caches, and a new image name in the registry
	caseUnchanged = "unchanged" // repeat the last build
	caseChanged   = "changed"   // one line of the context has changed
)

// row times all variants on one Dockerfile, in turns, so that other load on the machine affects all
// variants. If it fails, it also returns the times of the finished builds.
func (e *env) row(ctx context.Context, r row, o options) ([]figure, error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", r.name, r.about)
	original := filepath.Join(e.dir, r.name)
	if err := r.make(ctx, e, original); err != nil {
		return nil, err
	}
	var places []*place
	defer func() {
		for _, p := range places {
			p.close()
			_ = os.RemoveAll(p.dir)
		}
	}()
	for i, v := range variants() {
		if !e.runs(v, o) {
			continue
		}
		p, err := e.openPlace(ctx, r, original, v, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		places = append(places, p)
		if _, err := v.build(ctx, p); err != nil { // the cases unchanged and changed need a first build
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	figures := newFigures(r.name, o.cases)
	for round := range o.rounds {
		for c, name := range o.cases {
			for i := range places {
				p := places[(i+round)%len(places)] // another variant is first in each round
				if err := p.time(ctx, name, &figures[c]); err != nil {
					return figures, fmt.Errorf("%s, %s: %w", p.variant.name, name, err)
				}
			}
			figures[c].loads = append(figures[c].loads, load())
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", r.name, round+1, o.rounds)
	}
	return figures, nil
}

// runs reports whether a variant is timed.
func (e *env) runs(v variant, o options) bool {
	return slices.Contains(o.variants, v.name) && (v.name != variantBuildah || e.tools.buildah != "")
}

// time prepares a case, and then adds the time of one build to the figure. It does not time the
// preparation.
func (p *place) time(ctx context.Context, name string, f *figure) (err error) {
	switch name {
	case caseCold:
		err = p.renew(ctx)
	case caseChanged:
		err = p.change()
	}
	if err != nil {
		return err
	}
	took, err := p.variant.build(ctx, p)
	if err != nil {
		return err
	}
	f.times[p.variant.name] = append(f.times[p.variant.name], took)
	return nil
}

// load returns the machine's load average over the last minute, or 0 if it cannot be read.
func load() float64 {
	var average float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Fscan(strings.NewReader(string(text)), &average)
	}
	return average
}
