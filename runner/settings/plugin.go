package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"slipway/config"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/ci"
	"slipway/runner/registry"
	"slipway/runner/spec"
	"slipway/runner/tags"
)

const (
	pluginPrefix = "PLUGIN_"
	passwordName = "PLUGIN_PASSWORD"
	builderName  = "PLUGIN_BUILDER"
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
	Image      string   // registry/name without a tag
	Tags       []string // none: built, and not pushed
	Skip       string   // why nothing is even built; empty = it is
	TagNotes   []tags.Note
	CI         ci.Run
	Dockerfile string // relative to Workspace, as Context is
	Context    string
	Target     string
	Platforms  []string // none = the builder's own
	BuildArgs  map[string]string
	Login      spec.RegistryCredential // its Host is set; without a user name it is anonymous
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
	Copy        Copy
	Sign        Sign
	ECR         ECR
	Origins     map[string]string
	shown       []Shown
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
	if err := takeOut(e, given, append(buildSecretNames(), passwordName, builderTLS, tlsName, bitbucketToken, bitbucketPassword, signKey, signUnlock, awsKeySecret, awsEnvKeySecret, awsEnvKeySession)...); err != nil {
		return Plugin{}, err
	}
	p := Plugin{Dockerfile: raw.Dockerfile, Context: raw.Context, Target: raw.Target, Origins: origins, CI: ci.Read(given)}
	p.Workspace, origins[workspaceName] = first(given, ".", "DRONE_WORKSPACE", "CI_WORKSPACE")
	err = errors.Join(checkKnown(given, config.PluginSettings()), p.readRepo(raw.Repo), p.readLogin(raw), p.readSwitches(raw), p.readBuild(raw), p.readBuilder(given),
		p.readTags(given, raw.Tags), p.readBuildOptions(raw.PluginBuild, given), p.readStatus(raw.PluginStatus), p.readCopy(raw.PluginCopy), p.readSign(raw.PluginSign), p.readECR(raw.PluginECR, given))
	p.readFiles(raw, given)
	p.show(given)
	return p, err
}

// first is the first of these variables that is set, and its name.
func first(given map[string]string, otherwise string, names ...string) (value, origin string) {
	for _, name := range names {
		if value, ok := given[name]; ok {
			return value, name
		}
	}
	return otherwise, Default
}

// checkKnown refuses settings that nobody would act on: what they were to change, as
// which tags move, would silently not be so.
func checkKnown(given map[string]string, settings []config.Setting) error {
	known := map[string]bool{}
	for _, s := range settings {
		known[s.Name] = true
	}
	var unknown []string
	for name := range given {
		if strings.HasPrefix(name, pluginPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("%s: this step has no such setting; remove it (`slipway runner --help` lists them)", strings.Join(unknown, ", "))
}

func (p *Plugin) readRepo(repo string) (err error) {
	base := repo[strings.LastIndex(repo, "/")+1:]
	switch {
	case repo == "":
		return errors.New("PLUGIN_REPO is not set: give the image's name (setting repo), as registry.example.com/acme/app")
	case strings.Contains(base, ":") && !strings.Contains(base, "@"):
		return fmt.Errorf("PLUGIN_REPO is %q: give the name alone, and tags in PLUGIN_TAGS", repo)
	}
	if p.Image, err = registry.ParseImage(repo); err != nil {
		return fmt.Errorf("PLUGIN_REPO: %w", err)
	}
	return nil
}

// readLogin makes the credential, for the image's own host unless a registry is named. One
// that does not fit the image is a mistake: the push would be anonymous.
func (p *Plugin) readLogin(raw config.Plugin) error {
	host, _, _ := strings.Cut(p.Image, "/")
	p.Login = spec.RegistryCredential{Host: host, Credential: spec.Credential{Username: raw.Username, Password: raw.Password}}
	switch {
	case raw.Username != "" && raw.Password.IsZero():
		return errors.New("PLUGIN_PASSWORD is not set, PLUGIN_USERNAME is: give both; a CI keeps secrets from pull requests and from steps that do not name them")
	case raw.Username == "" && !raw.Password.IsZero():
		return errors.New("PLUGIN_USERNAME is not set, PLUGIN_PASSWORD is: give both")
	case raw.Registry == "":
		return nil
	}
	named, err := registry.ParseHost(raw.Registry)
	if err != nil {
		return fmt.Errorf("PLUGIN_REGISTRY: %w", err)
	}
	if p.Login.Host = named; p.Image != "" && p.Image != named && !strings.HasPrefix(p.Image, named+"/") {
		return fmt.Errorf("PLUGIN_REGISTRY is %s, and PLUGIN_REPO is %s, which is not there: begin PLUGIN_REPO with the registry", named, p.Image)
	}
	return nil
}

func (p *Plugin) readSwitches(raw config.Plugin) error {
	var errs [3]error
	p.Login.Insecure, errs[0] = trueFalse("PLUGIN_INSECURE", raw.Insecure)
	p.DryRun, errs[1] = trueFalse("PLUGIN_DRY_RUN", raw.DryRun)
	p.NoCache, errs[2] = trueFalse("PLUGIN_NO_CACHE", raw.NoCache)
	return errors.Join(errs[:]...)
}

// readBuild shows no value of a build argument, for some hold secrets, though none should.
func (p *Plugin) readBuild(raw config.Plugin) error {
	if strings.HasPrefix(strings.TrimSpace(raw.BuildArgs), "{") {
		all, err := object(argsName, raw.BuildArgs)
		for name := range all {
			if !spec.LegalArg(name) {
				err = errors.Join(err, fmt.Errorf("PLUGIN_BUILD_ARGS has %q, which is no name of a build argument", name))
			}
		}
		p.BuildArgs = all
		return err
	}
	args, err := list(argsName, raw.BuildArgs)
	all, pairsErr := pairs(argsName, args)
	p.BuildArgs = all
	return errors.Join(err, pairsErr)
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
	all := []secret.Secret{p.Login.Password, p.BuilderTLS.Text(), p.Build.SSHKey}
	for _, s := range p.Build.Secrets {
		all = append(all, s.Value, secret.New(strings.TrimSpace(s.Value.Reveal())))
	}
	all = append(all, p.Status.secrets()...)
	all = append(all, p.Sign.secrets()...)
	all = append(all, p.ECR.secrets()...)
	return append(all, p.proxySecrets()...)
}
