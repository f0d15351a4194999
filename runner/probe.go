package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/runner/report"
	"slipway/runner/sandbox"
	"slipway/runner/spec"
)

// probeDial bounds how long a builder may take to answer a probe, which has little time.
const probeDial = 20 * time.Second

// Probe tells, a line for each thing, whether this step could build: whether the gateway knows
// its token, and whether its builder answers, or one can be started here. Its error is one line
// that says what is wrong, and what would mend it.
func Probe(ctx context.Context, o Options) error {
	o = o.complete()
	client := report.New(
		report.Options{
			URL:     strings.TrimSuffix(o.Settings.URL, "/"+path.Base(spec.ProbePath)),
			Token:   o.Settings.Token,
			Version: o.Version,
		},
	)
	reply, err := client.Probe(ctx)
	switch {
	case errors.Is(err, report.ErrUnauthorized):
		return fmt.Errorf(
			spec.ProbeGateway+"%s does not know the step's token: is it the one that started this pipeline, and less than 10 minutes ago?",
			o.Settings.URL,
		)
	case err != nil:
		return fmt.Errorf(
			spec.ProbeGateway+"%s is not reached from here: %s; set SLIPWAY_URL of the gateway to an address that steps reach",
			o.Settings.URL,
			oneLine(err),
		)
	}
	o.well("the gateway answers at %s, and knows the step's token", o.Settings.URL)
	if err := o.probeBuilder(ctx, reply.BuilderTLS); err != nil {
		return errors.New(spec.ProbeBuilder + oneLine(err))
	}
	_, err = fmt.Fprintln(o.output(), spec.ProbeDone)
	return err
}

func (o Options) probeBuilder(ctx context.Context, given secret.Secret) error {
	if o.Settings.Builder == "" {
		_, stop, err := sandbox.StartLocal(
			ctx,
			sandbox.LocalBuilder{
				Cache:   sandbox.LocalCache{Off: true},
				Environ: o.Environ,
				Output:  o.output(),
				Program: o.BuilderProgram,
			},
		)
		if err != nil {
			return err
		}
		stop()
		o.well("a builder starts in the step")
		return nil
	}
	who, err := o.whoWeAre(given)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeDial)
	defer cancel()
	b, err := o.Dial(ctx, o.Settings.Builder, who)
	if err != nil {
		return badName(err)
	}
	_ = b.Close() // it answered
	o.well("the builder answers at %s", o.Settings.Builder)
	return nil
}

func (o Options) well(format string, args ...any) {
	fmt.Fprintf(o.output(), spec.ProbeWell+format+"\n", args...)
}

func (o Options) output() io.Writer {
	if o.Output == nil {
		return io.Discard
	}
	return o.Output
}
