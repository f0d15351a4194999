package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/ci"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
	"slipway/runner/tags"
)

// Default is the origin of a value that no variable set.
const Default = table.Default

// workspaceName is the key of the workspace in Origins. The workspace is no setting of the step.
const workspaceName = "workspace"

// A Shown is a setting in the form in which a log may show it.
type Shown = table.Shown

// A Plugin holds the settings of a step in a pipeline without a gateway. For its CI such a step is a
// plugin, hence the name. Package plugin is the gateway.
type Plugin struct {
	Workspace  string   // directory of the source tree, as the CI names it; "." = the current directory
	Images     []string // registry/name without a tag; the first names the step
	Tags       []string // none: build, and push nothing
	Skip       string   // reason to build nothing; empty = build
	TagNotes   []tags.Note
	CI         ci.Run
	Dockerfile string // relative to Workspace, as Context is
	Context    string
	Target     string   // stage to build; empty = the last
	Platforms  []string // none = the builder's own
	BuildArgs  map[string]string
	Logins     []Login // each registry, or beginning of image names, once
	DryRun     bool
	NoCache    bool
	Check      bool              // check the Dockerfile's rules, and build nothing; then DryRun is set
	Builder    string            // address of the builder; empty = start one
	BuilderTLS identity.Identity // client certificate for the builder
	Build      spec.BuildOptions
	Labels     Labels
	// InlineCache lets the builder read cached steps from the images that the tags point at.
	InlineCache  bool
	Warnings     []string // one line for each setting that has no effect here
	Status       Status
	Files        Files
	State        State
	Log          Log
	LocalBuilder LocalBuilder
	Certificates []Certificate // of registries, for the step and the builder that it starts
	Copy         Copy
	Sign         Sign
	ECR          ECR
	// Origins maps each setting, and "workspace", to the variable that its value came from, or to
	// Default: {"PLUGIN_TAGS": "PLUGIN_TAG", "workspace": "DRONE_WORKSPACE"}.
	Origins map[string]string
	shown   []Shown
	// destinations are the tags of each image, if the setting destinations names them; nil = all have Tags.
	destinations map[string][]string
	namedCaches  []namedCache
	sshKey       secret.Secret // key for builders over ssh, which are not supported: it is masked, and used for nothing
}

// A stepReader holds the settings of a step while they are read: the result, and the values that
// others derive from.
type stepReader struct {
	Plugin
	given map[string]string // the variables that are not empty

	builder builderValues
	local   localBuilderValues
	tags    tagValues
	args    argValues
	output  string
	login   loginValues
	status  statusValues
	ecr     ecrValues
	kaniko  kanikoValues

	insecureHosts []string // registries with plain HTTP besides those of PLUGIN_INSECURE
}

// ReadPlugin reads and validates the settings of a step without a gateway, and removes the secrets from
// the environment. An empty variable counts as not set. The error names every invalid setting and its
// fix, and shows no secret.
func ReadPlugin(e Environment) (Plugin, error) {
	e = normalized{e}
	given := nonEmpty(e.Environ())
	note, err := addEnvFile(given)
	if err != nil {
		return Plugin{}, err
	}
	notes, err := expandKaniko(given)
	if err != nil {
		return Plugin{}, err
	}
	rows := stepTable()
	if err := rows.RemoveSecrets(given, e.Unsetenv); err != nil {
		return Plugin{}, err
	}
	r := stepReader{given: given, Plugin: Plugin{
		CI:        ci.Read(given),
		BuildArgs: map[string]string{},
		Labels:    Labels{Named: map[string]string{}, Schema: map[string]string{}, Auto: true},
	}}
	report, err := rows.Read(given, &r)
	r.Origins, r.Warnings = report.Origins, slices.Concat(report.Notes, r.Warnings)
	r.Workspace, r.Origins[workspaceName] = firstSet(given, ".", workspaceNames()...)
	err = errors.Join(rows.CheckNames(given), err, r.derive())
	for _, line := range append(notes, note) {
		if line != "" {
			r.warn("%s", line)
		}
	}
	r.shown = rows.Shown(given, r.Origins)
	return r.Plugin, err
}

// derive validates and sets the values that depend on several settings. The order matters: whether
// the step pushes decides which logins are needed.
func (r *stepReader) derive() error {
	r.Builder = r.builder.address
	var builderErr error
	r.BuilderTLS, builderErr = r.builder.identity(r.Origins)
	err := errors.Join(builderErr, r.chooseTags(), r.mergeBuildArgs())
	r.dropSetProxies()
	r.noteLabels()
	err = errors.Join(
		err,
		r.applyKaniko(),
		r.checkAttestations(),
		r.applyOutput(),
		r.checkSSH(),
		r.checkAllow(),
		r.applyCheck(),
	)
	err = errors.Join(err, r.applyLogins(), r.applyStatus())
	r.applyLocalBuilder()
	err = errors.Join(err, r.checkRemoteBuilders(), r.applyCopy(), r.applyECR())
	r.applySign()
	r.applyFiles()
	r.noteUnused()
	return err
}

// TagsFor returns the tags of an image, which is one of Images.
func (p Plugin) TagsFor(image string) []string {
	if tags, named := p.destinations[image]; named && len(p.Tags) > 0 {
		return tags
	}
	return p.Tags
}

// workspaceNames returns the variables that hold the directory of the checked-out repository.
func workspaceNames() []string { return []string{"DRONE_WORKSPACE", "CI_WORKSPACE"} }

// warn adds a line for the log about a setting that has no effect here.
func (p *Plugin) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// Shown lists the settings that have a value, in the order of --help.
func (p Plugin) Shown() []Shown { return slices.Clone(p.shown) }

// Secrets returns the values that the log must not show. Secrets in files are not among them, because
// the files are read later.
func (p Plugin) Secrets() []secret.Secret {
	all := []secret.Secret{p.BuilderTLS.Text(), p.Build.SSHKey, p.sshKey}
	for _, l := range p.Logins {
		all = append(all, l.Password)
	}
	for _, s := range p.Build.Secrets {
		all = append(all, s.Value, secret.New(strings.TrimSpace(s.Value.Reveal())))
	}
	all = append(all, p.Status.secrets()...)
	all = append(all, p.Sign.secrets()...)
	all = append(all, p.ECR.secrets()...)
	all = append(all, p.contextSecrets()...)
	return append(all, p.proxySecrets()...)
}
