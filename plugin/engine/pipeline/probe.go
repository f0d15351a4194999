package pipeline

import (
	"context"
	"fmt"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

const (
	probeTime  = 2 * time.Minute // of a probe from its start to its end
	probeLogs  = 5               // looks for the words of one that is over: a CI may be late with them
	giveUpTime = 10 * time.Second
)

// Mends say, in the words of one CI, what to look at when a probe does not go well.
type Mends struct {
	Agent   string // nothing takes the pipeline
	Config  string // another pipeline runs than ours
	Image   string // our step does not come to speak
	Secret  string // it got no token
	Builder string // it cannot build
}

// Probe runs a pipeline on the CI that builds nothing, and tells how far it came: taken by an
// agent, with our steps, their token, the gateway and a builder in reach. It ends within two
// minutes, and when ctx does; a pipeline that is not over by then is cancelled. The repository
// counts where there is no builder repository.
func (e *Engine) Probe(ctx context.Context, repository string) []Finding {
	if e.o.Repository != "" {
		repository = e.o.Repository
	}
	if repository == "" {
		return []Finding{{Subject: "probe", Good: "not tried: there is no builder repository, and no automated build on this engine whose own could run it"}}
	}
	if e.o.Probes.key.IsZero() {
		return []Finding{{Subject: "probe", Problem: "the gateway has no key for it yet: start the gateway anew"}}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	number, err := e.o.CI.Create(ctx, Order{Repository: repository, Params: e.o.Probes.params(repository)})
	if err != nil {
		return []Finding{{Subject: "probe", Problem: e.mended(err.Error())}}
	}
	one := &probing{engine: e, repository: repository, number: number, began: time.Now()}
	defer one.giveUp(ctx)
	one.follow(ctx)
	return one.findings(ctx)
}

// probing is a probe under way.
type probing struct {
	engine     *Engine
	repository string
	number     int64
	began      time.Time

	run Run
	err error // of the last look
}

// over reports whether the pipeline has ended.
func (p *probing) over() bool {
	return p.run.State == autobuild.PipelineGone || p.run.State == autobuild.PipelineCancelled
}

// follow looks until the pipeline is over, or ctx.
func (p *probing) follow(ctx context.Context) {
	tick := time.NewTicker(p.engine.o.Tick)
	defer tick.Stop()
	for {
		run, err := p.engine.o.CI.Run(ctx, p.repository, p.number)
		if err == nil {
			p.run, p.err = run, nil
		} else if ctx.Err() == nil {
			p.err = err
		}
		if p.over() {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// giveUp stops a pipeline that is not over.
func (p *probing) giveUp(ctx context.Context) {
	if p.over() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	if err := p.engine.o.CI.Cancel(ctx, p.repository, p.number); err != nil {
		p.engine.o.Log.WithError(err).WithField("pipeline", p.name()).Warn("a probe was not cancelled")
	}
}

func (p *probing) name() string { return name(p.repository, p.number) }

// findings judges what was seen.
func (p *probing) findings(ctx context.Context) []Finding {
	mends, took := p.engine.o.Mends, time.Since(p.began).Round(time.Second)
	problem := func(format string, args ...any) []Finding {
		where := ""
		if p.run.URL != "" {
			where = " (" + p.run.URL + ")"
		}
		return []Finding{{Subject: "probe", Problem: "pipeline " + p.name() + where + " " + fmt.Sprintf(format, args...)}}
	}
	switch {
	case p.err != nil:
		return problem("was started, and then not told of: %s", oneLine(p.err.Error()))
	case p.run.State == autobuild.PipelineQueued:
		return problem("was taken by nobody within %s: %s", took, mends.Agent)
	case p.run.State == autobuild.PipelineCancelled:
		return problem("was cancelled on the CI: ask again")
	}
	said := p.words(ctx)
	switch {
	case said.trouble != "":
		return append(said.findings(), Finding{Subject: "step", Problem: p.engine.mended(said.trouble)})
	case said.done && p.over():
		return append([]Finding{{Subject: "probe", Good: "pipeline " + p.name() + " ran our step, with its token"}}, said.findings()...)
	case !p.over():
		return problem("was not over after %s; its last words: %s; if it was loading the step's image, ask again, else %s", took, said.last, mends.Image)
	}
	return problem("ended and our step said nothing; its last words: %s; %s; and %s", said.last, mends.Image, mends.Config)
}

// words reads what the pipeline printed. What ours has to say may come late.
func (p *probing) words(ctx context.Context) words {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTime)
	defer cancel()
	tick := time.NewTicker(p.engine.o.Tick)
	defer tick.Stop()
	for look := 1; ; look++ {
		lines, err := p.engine.o.Logs.Logs(ctx, p.repository, p.number)
		said := read(lines)
		if err != nil {
			said.last = "not to be had, " + oneLine(err.Error())
		}
		if said.done || said.trouble != "" || look == probeLogs {
			return said
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return said
		}
	}
}

// words are what a probe's step said.
type words struct {
	well    []string
	done    bool
	trouble string
	last    string // line of the pipeline, whoever said it
}

func read(lines []string) (w words) {
	w.last = "none"
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" {
			w.last = line
		}
		if well, ok := strings.CutPrefix(line, spec.ProbeWell); ok {
			w.well = append(w.well, well)
		} else if line == spec.ProbeDone {
			w.done = true
		} else if trouble, ok := strings.CutPrefix(line, spec.ProbeSays); ok {
			w.trouble = trouble
		}
	}
	return w
}

func (w words) findings() []Finding {
	var all []Finding
	for _, well := range w.well {
		all = append(all, Finding{Subject: "step", Good: well})
	}
	return all
}

// mended adds to what is wrong, in one line, where that is set on this CI.
func (e *Engine) mended(problem string) string {
	problem = oneLine(problem)
	switch {
	case strings.HasPrefix(problem, spec.ProbeBuilder):
		return problem + ": " + e.o.Mends.Builder
	case strings.Contains(problem, TokenSecret):
		return problem + ": " + e.o.Mends.Secret
	}
	return problem
}

// oneLine is what a CI said, which may have several lines.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
