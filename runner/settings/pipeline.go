package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/ci"
	"slipway/runner/settings/table"
)

const (
	gatewayName        = "PLUGIN_GATEWAY"
	automatedBuildName = "PLUGIN_AUTOMATED_BUILD"
	pipelineTokenName  = "PLUGIN_TOKEN"

	gatewayExample = "https://slipway.example.com"
)

// A PipelineRequest holds the settings of a step in a pipeline of the user's own that gets its build
// from a gateway.
type PipelineRequest struct {
	Gateway        string // without a trailing slash
	AutomatedBuild string // id of the automated build
	Token          secret.Secret
	Builder        string            // address of the builder; empty = start one
	BuilderTLS     identity.Identity // client certificate for the builder
	Hooks          bool              // build hooks may run here
	Commit, Ref    string            // commit and ref of the pipeline
	Pipeline       string            // the CI's name for it; empty = unknown
	// Logins are the step's own logins at registries. The gateway gives such a step no credential of
	// the installation except credentials that are bound to its automated build.
	Logins StepLogins
}

// A requestReader holds the settings of a PipelineRequest while they are read.
type requestReader struct {
	PipelineRequest
	builder builderValues
	login   loginValues
}

var (
	buildID = regexp.MustCompile(`^[a-z0-9-]+$`) // up to maxID characters
)

const maxID = 64

func requestTable() table.Table[requestReader] {
	return slices.Concat(
		table.Table[requestReader]{
			{
				Name: gatewayName,
				Help: "the gateway's URL, for example https://slipway.example.com: " +
					"it chooses the builds, and receives the log and the status",
				Required: "set the gateway's URL, for example " + gatewayExample,
				Set: func(r *requestReader, name, text string) error {
					r.Gateway = strings.TrimRight(text, "/")
					return checkURL(name, r.Gateway, gatewayExample)
				},
			},
			{
				Name:     automatedBuildName,
				Help:     "id of the automated build, from its page",
				Required: copyID,
				Set:      (*requestReader).setAutomatedBuild,
			},
			{
				Name: pipelineTokenName, Secret: true,
				Help: "the automated build's pipeline token, from a secret of the CI",
				Required: "make a token on the automated build's page, keep it as a secret of the CI, and name " +
					"that secret in the step's settings (token: {from_secret: …}); CIs pass no secrets to pull requests",
				Set: func(r *requestReader, name, text string) error {
					r.Token = secret.New(text)
					return checkToken(name, text, "copied")
				},
			},
		},
		table.Within(builderTable("tcp://host:9443"), func(r *requestReader) *builderValues { return &r.builder }),
		table.Table[requestReader]{{
			Name: "PLUGIN_RUNNER_HOOKS", Default: "on",
			Help: "on or off: whether build hooks (hooks/ beside the Dockerfile) may run here",
			Set:  table.OnOff(func(r *requestReader) *bool { return &r.Hooks }),
		}},
		table.Within(loginTable(), func(r *requestReader) *loginValues { return &r.login }),
	)
}

// copyID is the part of an error that explains how to set the id of the automated build.
const copyID = "copy it from the automated build's page"

func (r *requestReader) setAutomatedBuild(name, text string) error {
	r.AutomatedBuild = text
	if len(text) > maxID || !buildID.MatchString(text) {
		return fmt.Errorf("%s is not an id: %s", name, copyID)
	}
	return nil
}

// ReadPipelineRequest reads and validates the settings of a step that gets its build from a gateway, and
// removes the secrets from the environment. Commit, ref and pipeline are the CI's: Drone's (DRONE_*) or
// Woodpecker's (CI_*). The error names every invalid setting and its fix, and shows no secret.
func ReadPipelineRequest(e Environment) (PipelineRequest, error) {
	given := nonEmpty(e.Environ())
	rows := requestTable()
	if err := rows.RemoveSecrets(given, e.Unsetenv); err != nil {
		return PipelineRequest{}, err
	}
	run := ci.Read(given)
	var r requestReader
	r.Commit = run.Commit
	r.Ref = run.Ref
	r.Pipeline = pipelineName(run)
	report, err := rows.Read(given, &r)
	r.Builder = r.builder.address
	var builderErr, loginErr error
	r.BuilderTLS, builderErr = r.builder.identity(report.Origins)
	r.Logins, loginErr = readStepLogins(r.login, report)
	return r.PipelineRequest, errors.Join(rows.CheckNames(given), err, r.checkCommit(), builderErr, loginErr)
}

// readStepLogins reads the step's own logins. The gateway names the image, so the login to push with is
// chosen later.
func readStepLogins(v loginValues, report table.Report) (StepLogins, error) {
	p := Plugin{Origins: report.Origins, Warnings: report.Notes}
	l, err := p.parseLogins(v)
	if len(p.LocalBuilder.Mirrors) > 0 {
		p.warn("the mirrors in PLUGIN_LOGINS have no effect under a gateway: " +
			"configure them in the builder that PLUGIN_BUILDER names")
	}
	l.Notes = p.Warnings
	const anyImage = "registry.example.com/image"
	_, _, insecureErr := l.For(anyImage)
	return l, errors.Join(err, insecureErr)
}

func (r *requestReader) checkCommit() error {
	if !grammar.IsCommit(r.Commit) || r.Ref == "" {
		return errors.New("the commit or its ref is unknown: " +
			"run the step in a pipeline of Drone (DRONE_COMMIT_SHA, DRONE_COMMIT_REF) " +
			"or Woodpecker (CI_COMMIT_SHA, CI_COMMIT_REF)")
	}
	return nil
}

// pipelineName returns the CI's name for the step's run: the pipeline's link, and the step, because a
// pipeline may have several.
func pipelineName(run ci.Run) string {
	link := run.PipelineLink
	if link == "" {
		if run.PipelineNumber == "" {
			return ""
		}
		link = run.Repository + "#" + run.PipelineNumber
	}
	return strings.TrimSpace(link + " " + strings.Trim(run.Stage+"/"+run.Step, "/"))
}
