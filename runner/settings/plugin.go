package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"slipway/config"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/ci"
	"slipway/runner/spec"
	"slipway/runner/tags"
)

const (
	pluginPrefix = "PLUGIN_"
	registryName = "PLUGIN_REGISTRY"
	userName     = "PLUGIN_USERNAME"
	passwordName = "PLUGIN_PASSWORD"
	builderName  = "PLUGIN_BUILDER"
	dryRunName   = "PLUGIN_DRY_RUN"
	builderTLS   = "PLUGIN_BUILDER_TLS"
	// workspaceName is the origin's key of the workspace, which is no setting of the step's.
	workspaceName = "workspace"
)

// Default is the origin of a value that nobody set.
const Default = "default"

// Plugin is what the step of a pipeline without a gateway is told. Origins has, for each
// variable and for "workspace", the variable that its value came from, or Default.
type Plugin struct {
	Workspace  string   // as the CI names it; "." = the current directory
	Images     []string // registry/name without a tag; the first names the step
	Tags       []string // none: built, and not pushed
	Skip       string   // why nothing is even built; empty = it is
	TagNotes   []tags.Note
	CI         ci.Run
	Dockerfile string // relative to Workspace, as Context is
	Context    string
	Target     string
	Platforms  []string // none = the builder's own
	BuildArgs  map[string]string
	Logins     []Login // each registry, or beginning of names, once
	DryRun     bool
	NoCache    bool
	Builder    string            // empty = start one
	BuilderTLS identity.Identity // who the step is to it
	Build      spec.BuildOptions // what else the builder is told
	Labels     Labels
	// InlineCache has the builder look for steps in the images that the tags point at.
	InlineCache bool
	Warnings    []string // of settings that do nothing here
	Status      Status
	Files       Files
	State       State
	Log         Log
	OwnBuilder  OwnBuilder
	Copy        Copy
	Sign        Sign
	ECR         ECR
	Origins     map[string]string
	shown       []Shown
	sshKey      secret.Secret // for builders over ssh, which are not here: it is masked, and used for nothing
}

// IsStep reports whether a program that was started without arguments is the step of a
// pipeline: some CIs run a plugin's program by its name alone.
func IsStep(environ []string) bool {
	all := env.ToMap(environ)
	return all["PLUGIN_RUNNER_URL"] != "" || all["PLUGIN_REPO"] != "" || all[gatewayName] != ""
}

// Standalone reports whether an environment asks for the step without a gateway: it has
// settings of a plugin and no gateway's address by any of its names.
func Standalone(environ []string) bool {
	all := env.ToMap(environ)
	if all["SLIPWAY_RUNNER_URL"] != "" || hasName(all, "PLUGIN_RUNNER_URL") || Joining(environ) {
		return false
	}
	for name, value := range all {
		if strings.HasPrefix(name, pluginPrefix) && value != "" {
			return true
		}
	}
	return false
}

// ReadPlugin reads and checks the step's settings and then takes the secrets out of the
// environment, so that no child inherits them. An empty variable counts as not set, as what a
// CI makes of ${DRONE_TAG} on a branch. Its error names every setting that is wrong and how
// to mend it, and shows no secret.
func ReadPlugin(e Environment) (Plugin, error) {
	e = underscored{e}
	given := env.ToMap(e.Environ())
	for name, value := range given {
		if value == "" {
			delete(given, name)
		}
	}
	note, err := addEnvFile(given)
	if err != nil {
		return Plugin{}, err
	}
	origins := map[string]string{}
	raw, err := env.ParseAsWithOptions[config.Plugin](env.Options{
		Environment: given,
		OnSet: func(name string, _ any, isDefault bool) {
			if origins[name] = name; isDefault || given[name] == "" {
				origins[name] = Default
			}
		},
	})
	if err != nil {
		return Plugin{}, fmt.Errorf("settings: %w", err)
	}
	if err := takeOut(
		e,
		given,
		slices.Concat(
			loginSecretNames(),
			buildSecretNames(),
			[]string{
				builderTLS,
				tlsName,
				bitbucketToken,
				bitbucketPassword,
				signKey,
				signUnlock,
				awsKeySecret,
				awsEnvKeySecret,
				awsEnvKeySession,
			},
		)...); err != nil {
		return Plugin{}, err
	}
	p := Plugin{
		Dockerfile: raw.Dockerfile,
		Context:    raw.Context,
		Target:     raw.Target,
		Origins:    origins,
		CI:         ci.Read(given),
	}
	p.Workspace, origins[workspaceName] = first(given, ".", workspaceNames()...)
	err = errors.Join(
		checkKnown(given, config.PluginSettings()),
		p.readRepo(raw.Repo),
		p.readSwitches(raw, given),
		p.readBuild(raw),
		p.readBuilder(given),
		p.readTags(given, raw.Tags),
		p.readBuildOptions(raw.PluginBuild, given),
		p.readImageOutput(raw.Output, given),
		p.readLogins(
			raw.PluginLogin,
			raw.Insecure,
			given,
		),
		p.readStatus(raw.PluginStatus), // a dry run needs fewer logins
		p.readState(
			given,
		),
		p.readLog(raw.PluginOutput, given),
		p.readOwnBuilder(raw.PluginBuilder, given),
		p.readRemoteBuilders(raw.PluginBuilder),
		p.readCopy(raw.PluginCopy),
		p.readSign(raw.PluginSign),
		p.readECR(raw.PluginECR, given),
	)
	p.noteDaemon(given)
	if note != "" {
		p.warn("%s", note)
	}
	p.readFiles(raw, given)
	p.show(given)
	return p, err
}

// workspaceNames are the variables that say where the repository is checked out.
func workspaceNames() []string { return []string{"DRONE_WORKSPACE", "CI_WORKSPACE"} }

// first is the first of these variables that is set, and its name.
func first(given map[string]string, otherwise string, names ...string) (value, origin string) {
	for _, name := range names {
		if value, ok := given[name]; ok {
			return value, name
		}
	}
	return otherwise, Default
}

func (p *Plugin) readSwitches(raw config.Plugin, given map[string]string) error {
	var errs [3]error
	p.DryRun, errs[0] = trueFalse(dryRunName, raw.DryRun)
	errs[1] = p.readNoPush(given)
	p.NoCache, errs[2] = trueFalse("PLUGIN_NO_CACHE", raw.NoCache)
	return errors.Join(errs[:]...)
}

// readNoPush reads the other name of dry_run.
func (p *Plugin) readNoPush(given map[string]string) (err error) {
	value, name, err := oneOf(given, "false", dryRunName, "PLUGIN_NO_PUSH")
	if err != nil {
		return err
	}
	p.Origins[dryRunName] = name
	if name != dryRunName { // which is read already
		p.DryRun, err = trueFalse(name, value)
	}
	return err
}

// readBuild shows no value of a build argument, for some hold secrets, though none should.
func (p *Plugin) readBuild(raw config.Plugin) error {
	objects, rest := takeObjects(raw.BuildArgs)
	args, err := list(argsName, rest)
	all, pairsErr := pairs(argsName, args)
	err = errors.Join(err, pairsErr)
	for _, text := range objects {
		one, objectErr := object(argsName, text)
		err = errors.Join(err, objectErr)
		for _, name := range slices.Sorted(maps.Keys(one)) {
			if !spec.LegalArg(name) {
				err = errors.Join(
					err,
					fmt.Errorf("PLUGIN_BUILD_ARGS has %q, which is no name of a build argument", name),
				)
			}
		}
		maps.Copy(all, one)
	}
	p.BuildArgs = all
	return err
}

func (p *Plugin) readBuilder(given map[string]string) (err error) {
	p.Builder, p.Origins[builderName], p.BuilderTLS, err = builderOf(given)
	return err
}

// builderOf is the builder that a step names, the variable that names it, and who the step is
// to it.
func builderOf(given map[string]string) (address, origin string, who identity.Identity, err error) {
	address, origin = first(given, "", builderName, "SLIPWAY_BUILDER")
	text, name := first(given, "", builderTLS, tlsName)
	if who, err = readIdentity(name, secret.New(text)); err != nil || address == "" {
		return address, origin, who, err
	}
	err = identity.CheckAddress(address, who)
	switch {
	case errors.Is(err, identity.ErrNeeded):
		err = fmt.Errorf("PLUGIN_BUILDER_TLS is not set (setting builder_tls): %w", err)
	case err != nil:
		err = fmt.Errorf("%s: %w", origin, err)
	}
	return address, origin, who, err
}

// Secrets are what the log must not show. Those in files are only known once they were read.
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
	return append(all, p.proxySecrets()...)
}
