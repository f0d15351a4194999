package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of the cases.
const (
	caseCold      = "cold"      // nothing is known: empty states, an image that the registry does not have
	caseUnchanged = "unchanged" // what was built last is built again
	caseChanged   = "changed"   // one line of the context is another
)

// row times all ways on one Dockerfile, in turns, so that what else the machine does meets all. With
// an error it returns what was timed before.
func (w *world) row(ctx context.Context, r row, o options) ([]figure, error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", r.name, r.about)
	original := filepath.Join(w.dir, r.name)
	if err := r.make(ctx, w, original); err != nil {
		return nil, err
	}
	var places []*place
	defer func() {
		for _, p := range places {
			p.close()
			_ = os.RemoveAll(p.dir)
		}
	}()
	for i, of := range ways() {
		p, err := w.openPlace(ctx, r, original, of, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", of.name, err)
		}
		places = append(places, p)
		if _, err := of.build(ctx, p); err != nil { // so that each case finds what it needs
			return nil, fmt.Errorf("%s: %w", of.name, err)
		}
	}
	figures := newFigures(r.name, o.cases)
	for round := range o.rounds {
		for c, name := range o.cases {
			for i := range places {
				p := places[(i+round)%len(places)] // nobody is always first
				if err := p.time(ctx, name, &figures[c]); err != nil {
					return figures, fmt.Errorf("%s, %s: %w", p.way.name, name, err)
				}
			}
			figures[c].loads = append(figures[c].loads, load())
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", r.name, round+1, o.rounds)
	}
	return figures, nil
}

// time prepares a case, which is not timed, and builds.
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
	took, err := p.way.build(ctx, p)
	if err != nil {
		return err
	}
	f.times[p.way.name] = append(f.times[p.way.name], took)
	return nil
}

// load is how many processes wanted to run, on average over the last minute.
func load() float64 {
	var average float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Fscan(strings.NewReader(string(text)), &average)
	}
	return average
}
