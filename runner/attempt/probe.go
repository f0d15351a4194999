package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/config/text"
	"slipway/runner/report"
	"slipway/runner/sandbox"
	"slipway/runner/spec"
)

// probeDialTimeout bounds the connection of a probe to a builder, because a probe has little time.
const probeDialTimeout = 20 * time.Second

// Probe checks whether this step could build: whether the gateway knows its token, and whether its
// builder answers, or can be started here. It prints a line for each. Its error is one line with the
// fix.
func Probe(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if o.Output == nil {
		o.Output = io.Discard
	}
	client := report.New(report.Options{
		URL:     strings.TrimSuffix(o.Settings.URL, "/"+path.Base(spec.ProbePath)),
		Token:   o.Settings.Token,
		Version: o.Version,
	})
	reply, err := client.Probe(ctx)
	switch {
	case errors.Is(err, report.ErrUnauthorized):
		return fmt.Errorf(
			spec.ProbeGateway+"%s does not accept the step's token: "+
				"check that this gateway started the pipeline, less than 10 minutes ago",
			o.Settings.URL,
		)
	case err != nil:
		return fmt.Errorf(
			spec.ProbeGateway+"%s cannot be reached from here: %s: "+
				"set SLIPWAY_URL of the gateway to an address that steps can reach",
			o.Settings.URL,
			text.OneLine(err.Error(), maxDetail),
		)
	}
	o.printWell("the gateway answers at %s, and accepts the step's token", o.Settings.URL)
	if err := o.probeBuilder(ctx, reply.BuilderTLS); err != nil {
		return errors.New(spec.ProbeBuilder + text.OneLine(err.Error(), maxDetail))
	}
	_, err = fmt.Fprintln(o.Output, spec.ProbeDone)
	return err
}

// probeBuilder connects to the builder that a setting names, or starts and stops one.
func (o Options) probeBuilder(ctx context.Context, given secret.Secret) error {
	if o.Settings.Builder == "" {
		_, stop, err := sandbox.StartLocal(ctx, sandbox.LocalBuilder{
			Cache:   sandbox.LocalCache{Off: true},
			Environ: o.Environ,
			Output:  o.Output,
			Program: o.BuilderProgram,
		})
		if err != nil {
			return err
		}
		stop()
		o.printWell("a builder starts in the step")
		return nil
	}
	login, err := o.clientIdentity(given)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeDialTimeout)
	defer cancel()
	b, err := o.Dial(ctx, o.Settings.Builder, login)
	if err != nil {
		return explainDialError(err)
	}
	_ = b.Close() // it answered
	o.printWell("the builder answers at %s", o.Settings.Builder)
	return nil
}

func (o Options) printWell(format string, args ...any) {
	fmt.Fprintf(o.Output, spec.ProbeWell+format+"\n", args...)
}
