package pipeline

import (
	"context"
	"fmt"
	"strings"
	"time"

	"slipway/config/text"
	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

const (
	probeTime   = 2 * time.Minute  // limit for a probe from start to end
	probeLogs   = 5                // attempts to read the log of a finished probe: a CI may publish it late
	cleanupTime = 10 * time.Second // limit for the cancel and log requests after the probe's own time is used up
)

// Remedies are the hints that a finding of Probe ends with, in the vocabulary of one CI.
type Remedies struct {
	Agent   string // no agent takes the pipeline
	Config  string // the CI runs another pipeline than ours
	Image   string // our step prints no output
	Secret  string // our step got no token
	Builder string // our step cannot build
}

// Probe runs a pipeline on the CI that builds nothing, and reports how far it came. The stages are:
// an agent takes the pipeline, the CI runs our step, the step gets its token, and the step reaches
// the gateway and a builder. Probe returns after at most two minutes, or when ctx ends. It cancels
// a pipeline that is still running. repository is used only if the engine has no builder
// repository.
func (e *Engine) Probe(ctx context.Context, repository string) []Finding {
	if e.o.Repository != "" {
		repository = e.o.Repository
	}
	if repository == "" {
		return []Finding{
			{
				Subject: "probe",
				Good: "skipped: no builder repository is set, " +
					"and no automated build uses this engine",
			},
		}
	}
	if e.o.Probes.key.IsZero() {
		return []Finding{{Subject: "probe", Problem: "the gateway has no key for it yet: restart the gateway"}}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	number, err := e.o.CI.Create(ctx, Order{Repository: repository, Params: e.o.Probes.params(repository)})
	if err != nil {
		return []Finding{{Subject: "probe", Problem: e.withRemedy(err.Error())}}
	}
	running := &probeRun{engine: e, repository: repository, number: number, began: time.Now()}
	defer running.cancelIfRunning(ctx)
	running.follow(ctx)
	return running.findings(ctx)
}

// A probeRun is the pipeline of one running probe.
type probeRun struct {
	engine     *Engine
	repository string
	number     int64
	began      time.Time

	run Run
	err error // error of the last poll
}

// over reports whether the pipeline has ended.
func (p *probeRun) over() bool {
	switch p.run.Status.State {
	case autobuild.PipelineGone, autobuild.PipelineCancelled, autobuild.PipelineTimedOut:
		return true
	}
	return false
}

// follow polls until the pipeline has ended or ctx ends.
func (p *probeRun) follow(ctx context.Context) {
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

// cancelIfRunning stops the pipeline unless it has ended.
func (p *probeRun) cancelIfRunning(ctx context.Context) {
	if p.over() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := p.engine.o.CI.Cancel(ctx, p.repository, p.number); err != nil {
		p.engine.o.Log.WithError(err).WithField("pipeline", p.name()).Warn("probe not cancelled")
	}
}

// name returns the pipeline's name, e.g. acme/builder#17.
func (p *probeRun) name() string { return name(p.repository, p.number) }

// findings returns the result of the probe.
func (p *probeRun) findings(ctx context.Context) []Finding {
	remedies, took := p.engine.o.Remedies, time.Since(p.began).Round(time.Second)
	problem := func(format string, args ...any) []Finding {
		where := ""
		if p.run.URL != "" {
			where = " (" + p.run.URL + ")"
		}
		return []Finding{
			{Subject: "probe", Problem: "pipeline " + p.name() + where + " " + fmt.Sprintf(format, args...)},
		}
	}
	switch {
	case p.err != nil:
		return problem("was started, but its state is unknown: %s", text.OneLine(p.err.Error(), 0))
	case p.run.Status.State == autobuild.PipelineQueued:
		return problem("did not start within %s: %s", took, remedies.Agent)
	case p.run.Status.State == autobuild.PipelineCancelled:
		return problem("was cancelled on the CI: try again")
	}
	output := p.readOutput(ctx)
	switch {
	case output.trouble != "":
		return append(output.findings(), Finding{Subject: "step", Problem: p.engine.withRemedy(output.trouble)})
	case output.done && p.over():
		return append(
			[]Finding{{Subject: "probe", Good: "pipeline " + p.name() + " ran our step, with its token"}},
			output.findings()...)
	case !p.over():
		return problem(
			"did not end within %s; its last output: %s; if it was pulling the step's image, try again; otherwise: %s",
			took, output.last, remedies.Image,
		)
	}
	if p.run.Status.Detail != "" {
		return problem("did not run our step to its end: %s", p.run.Status.Detail)
	}
	return problem(
		"ended without output of our step; its last output: %s; %s; and %s",
		output.last, remedies.Image, remedies.Config,
	)
}

// readOutput reads the pipeline's output. It polls several times, because a CI may publish the
// output of our step late.
func (p *probeRun) readOutput(ctx context.Context) stepOutput {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	tick := time.NewTicker(p.engine.o.Tick)
	defer tick.Stop()
	for try := 1; ; try++ {
		lines, err := p.engine.o.Logs.Logs(ctx, p.repository, p.number)
		output := parseOutput(lines)
		if err != nil {
			output.last = "not available: " + text.OneLine(err.Error(), 0)
		}
		if output.done || output.trouble != "" || try == probeLogs {
			return output
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return output
		}
	}
}

// stepOutput is the output of a probe's step.
type stepOutput struct {
	passed  []string // messages of the checks that succeeded
	done    bool     // all checks succeeded
	trouble string   // message of the check that failed; empty = none
	last    string   // last line of the pipeline, from the step or from the CI
}

// parseOutput collects the messages of our step from the lines of a pipeline.
func parseOutput(lines []string) (o stepOutput) {
	o.last = "none"
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" {
			o.last = line
		}
		if check, ok := strings.CutPrefix(line, spec.ProbeWell); ok {
			o.passed = append(o.passed, check)
		} else if line == spec.ProbeDone {
			o.done = true
		} else if trouble, ok := strings.CutPrefix(line, spec.ProbeSays); ok {
			o.trouble = trouble
		}
	}
	return o
}

// findings returns the successful checks.
func (o stepOutput) findings() []Finding {
	var all []Finding
	for _, check := range o.passed {
		all = append(all, Finding{Subject: "step", Good: check})
	}
	return all
}

// withRemedy returns a problem in one line, followed by the hint that fits.
func (e *Engine) withRemedy(problem string) string {
	problem = text.OneLine(problem, 0)
	switch {
	case strings.HasPrefix(problem, spec.ProbeBuilder):
		return problem + ": " + e.o.Remedies.Builder
	case strings.Contains(problem, TokenSecret):
		return problem + ": " + e.o.Remedies.Secret
	}
	return problem
}
