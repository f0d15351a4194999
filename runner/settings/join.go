package settings

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caarlos0/env/v11"

	"slipway/config"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/ci"
)

const (
	gatewayName   = "PLUGIN_GATEWAY"
	pipelineToken = "PLUGIN_TOKEN"
)

// Join is what the step of a pipeline of the user's own is told that gets its work from a
// gateway.
type Join struct {
	Gateway        string // without a trailing slash
	AutomatedBuild string
	Token          secret.Secret
	Builder        string            // empty = start one
	BuilderTLS     identity.Identity // who the step is to it
	Hooks          bool
	Commit, Ref    string // that the CI runs the pipeline for
	Pipeline       string // what the CI calls it; empty = nothing
	// Logins are the step's own at registries. The gateway gives such a step no credential of the
	// installation but those that are bound to its automated build.
	Logins StepLogins
}

// Joining reports whether an environment asks for the step of a pipeline of the user's own
// under a gateway. A setting that is there and empty, as of a secret that the CI does not hand
// over, asks for it too.
func Joining(environ []string) bool {
	all := env.ToMap(environ)
	return all["SLIPWAY_RUNNER_URL"] == "" && !hasName(all, "PLUGIN_RUNNER_URL") &&
		(hasName(all, gatewayName) || hasName(all, "PLUGIN_AUTOMATED_BUILD"))
}

var (
	fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	ids      = regexp.MustCompile(`^[a-z0-9-]+$`) // of no more than maxID
)

const maxID = 64

// ReadJoin reads and checks the step's settings and then takes the secrets out of the
// environment, so that no child inherits them. Commit, ref and pipeline are the CI's: Drone's
// (DRONE_*) or Woodpecker's (CI_*). Its error names every setting that is wrong and how to
// mend it, and shows no secret.
func ReadJoin(e Environment) (Join, error) {
	given := env.ToMap(e.Environ())
	for name, value := range given {
		if value == "" {
			delete(given, name)
		}
	}
	raw, err := env.ParseAsWithOptions[config.Join](env.Options{Environment: given})
	if err != nil {
		return Join{}, fmt.Errorf("settings: %w", err)
	}
	if err := takeOut(e, given, append(loginSecretNames(), pipelineToken, builderTLS, tlsName)...); err != nil {
		return Join{}, err
	}
	run := ci.Read(given)
	j := Join{
		Gateway: strings.TrimRight(raw.Gateway, "/"), AutomatedBuild: raw.AutomatedBuild, Token: raw.Token,
		Commit: run.Commit, Ref: run.Ref, Pipeline: pipelineOf(run),
	}
	var builderErr error
	j.Builder, _, j.BuilderTLS, builderErr = builderOf(given)
	hooks, hooksErr := onOff("PLUGIN_RUNNER_HOOKS", raw.Hooks)
	j.Hooks = hooks
	var loginErr error
	j.Logins, loginErr = readStepLogins(raw, given)
	return j, errors.Join(checkKnown(given, config.JoinSettings()), j.check(), hooksErr, builderErr, loginErr)
}

// readStepLogins reads the step's own logins. Which of them pushes is known with the image, which
// the gateway names.
func readStepLogins(raw config.Join, given map[string]string) (StepLogins, error) {
	p := Plugin{Origins: map[string]string{}}
	l, err := p.parseLogins(raw.PluginLogin, raw.Insecure, given)
	if len(p.OwnBuilder.Mirrors) > 0 {
		p.warn(
			"the mirrors in PLUGIN_LOGINS do nothing under a gateway: give them to the builder that PLUGIN_BUILDER names",
		)
	}
	l.Notes = p.Warnings
	const anyImage = "registry.example.com/image"
	_, _, insecureErr := l.For(anyImage)
	return l, errors.Join(err, insecureErr)
}

func (j Join) check() error {
	var errs []error
	if j.Gateway == "" {
		errs = append(
			errs,
			errors.New(gatewayName+" is not set: give the gateway's URL, as https://slipway.example.com"),
		)
	} else {
		errs = append(errs, checkURL(gatewayName, j.Gateway))
	}
	if len(j.AutomatedBuild) > maxID || !ids.MatchString(j.AutomatedBuild) {
		errs = append(
			errs,
			errors.New("PLUGIN_AUTOMATED_BUILD is not set, or is no id: copy it from the automated build's page"),
		)
	}
	switch {
	case j.Token.IsZero():
		errs = append(
			errs,
			errors.New(
				pipelineToken+" is not set: make a token on the automated build's page, keep it as a secret of the CI, and name that secret in the step's settings (token: {from_secret: …}); CIs hand no secrets to pull requests",
			),
		)
	case strings.ContainsAny(j.Token.Reveal(), " \t\r\n\x00"):
		errs = append(errs, errors.New(pipelineToken+" holds white space: it was not copied whole"))
	}
	if !fullHash.MatchString(j.Commit) || j.Ref == "" {
		errs = append(
			errs,
			errors.New(
				"the CI does not say which commit of which ref this is: run the step in a pipeline of Drone (DRONE_COMMIT_SHA, DRONE_COMMIT_REF) or Woodpecker (CI_COMMIT_SHA, CI_COMMIT_REF)",
			),
		)
	}
	return errors.Join(errs...)
}

// pipelineOf is what a CI calls the step's run: its link, and the step, for a pipeline may have
// several.
func pipelineOf(run ci.Run) string {
	link := run.PipelineLink
	if link == "" {
		if run.PipelineNumber == "" {
			return ""
		}
		link = run.Repository + "#" + run.PipelineNumber
	}
	return strings.TrimSpace(link + " " + strings.Trim(run.Stage+"/"+run.Step, "/"))
}
