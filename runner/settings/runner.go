package settings

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"slipway/config/identity"
	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// The variables of a runner that a gateway's engine started.
const (
	runnerURLName   = "SLIPWAY_RUNNER_URL"
	runnerTokenName = "SLIPWAY_RUNNER_TOKEN"
	pluginURLName   = "PLUGIN_RUNNER_URL"
)

// Settings are those of a runner that a gateway's engine started.
type Settings struct {
	URL     string // URL of the runner protocol for this build, without a trailing slash
	Token   secret.Secret
	Builder string // address of the builder; empty = start one
	// BuilderTLS is the certificate of the step for that builder. If it is zero, the gateway sends one.
	BuilderTLS identity.Identity
	Hooks      bool   // build hooks may run here
	Workdir    string // absolute; empty = make one
	// Workspace is a directory of this attempt that is shared with the sandbox of its build hooks; empty =
	// the attempt has no such sandbox.
	Workspace string
	// Networks decides on addresses that the repository or its registry names. If NetworksSet, the builder
	// service has set it, and it also holds for the runner's own requests to registries.
	Networks    netpolicy.Policy
	NetworksSet bool
}

// A runnerReader holds the settings of a runner while they are read.
type runnerReader struct {
	Settings
	builder builderValues
	private string   // value of netpolicy.PrivateSetting
	allowed []string // values of netpolicy.AllowedSetting
}

// runnerTable declares the settings of a runner that a gateway's engine started.
func runnerTable() table.Table[runnerReader] { return append(attemptTable(), networkTable()...) }

// attemptTable declares the settings of a runner for its attempt. The engine sets the
// variables, not the user. A CI that passes settings to a plugin step uses the names PLUGIN_….
func attemptTable() table.Table[runnerReader] {
	return table.Table[runnerReader]{
		{
			Name: runnerURLName, Env: []string{pluginURLName},
			Help: "the gateway's URL of this build: https://slipway.example.com/runner/v1/builds/{id}",
			Required: "the gateway's engine sets it for each attempt; " +
				"without a gateway, set PLUGIN_REPO",
			Set: func(r *runnerReader, name, text string) error {
				r.URL = strings.TrimRight(text, "/")
				return checkURL(name, text, gatewayExample+buildsPath+"{id}")
			},
		},
		{
			Name:   runnerTokenName,
			Env:    []string{"PLUGIN_RUNNER_TOKEN"},
			Secret: true,
			Help:   "the attempt's token",
			Required: "the gateway's engine sets it for each attempt; on a CI the gateway passes it as the secret " +
				"slipway_runner_token, if the CI's secret extension is set up (Slipway's docs/drone.md and " +
				"docs/woodpecker.md explain it) and the build still wants this pipeline",
			Set: func(r *runnerReader, name, text string) error {
				r.Token = secret.New(text)
				return checkToken(name, text, "passed")
			},
		},
		{
			Name: "SLIPWAY_BUILDER", Env: []string{builderName},
			Help:  "address of the builder, for example unix:///run/slipway/builder.sock",
			Unset: "one is started for this step",
			Set:   table.Text(func(r *runnerReader) *string { return &r.builder.address }),
		},
		{
			Name: builderTLSEnv, Env: []string{builderTLSName}, Secret: true,
			Help: "certificate of this client for a builder on another machine: PEM, " +
				"or the absolute path of a file of slipway builder keys",
			Unset: "the certificate that the gateway sends",
			Set:   table.Secret(func(r *runnerReader) *secret.Secret { return &r.builder.tls }),
		},
		{
			Name: "SLIPWAY_RUNNER_HOOKS", Env: []string{"PLUGIN_RUNNER_HOOKS"}, Default: "on",
			Help: "on or off: whether build hooks (hooks/ beside the Dockerfile) may run here",
			Set:  table.OnOff(func(r *runnerReader) *bool { return &r.Hooks }),
		},
		{
			Name:  "SLIPWAY_WORKDIR",
			Help:  "directory for the source tree and the log",
			Unset: "a directory below TMPDIR, removed at the end",
			Set:   absolutePath(func(r *runnerReader) *string { return &r.Workdir }),
		},
		{
			Name:  "SLIPWAY_WORKSPACE",
			Help:  "directory that the builder service shares with the sandbox of build hooks",
			Unset: "there is no sandbox",
			Set:   absolutePath(func(r *runnerReader) *string { return &r.Workspace }),
		},
	}
}

// networkTable declares the settings of networks, which the builder service sets.
func networkTable() table.Table[runnerReader] {
	return table.Table[runnerReader]{
		{
			Name: netpolicy.PrivateSetting,
			Help: "allow or refuse connections to private networks: of submodules, of build hooks, and to " +
				"addresses that a registry names; the builder service sets it",
			Unset: "allow, and the runner does not check addresses that a registry names",
			Set:   table.Text(func(r *runnerReader) *string { return &r.private }),
		},
		{
			Name: netpolicy.AllowedSetting,
			Help: "addresses and networks that submodules and build hooks may reach although a rule refuses them; " +
				"the builder service sets it",
			Unset: "there are none",
			Set: func(r *runnerReader, _, text string) error {
				r.allowed = strings.Split(text, ",")
				return nil
			},
		},
	}
}

// absolutePath returns a setter for an absolute path.
func absolutePath(field func(*runnerReader) *string) func(r *runnerReader, name, text string) error {
	return func(r *runnerReader, name, text string) error {
		if !filepath.IsAbs(text) {
			return fmt.Errorf("%s is %q: set an absolute path", name, text)
		}
		*field(r) = text
		return nil
	}
}

// Read reads and validates the settings of a runner that a gateway's engine started, and removes the
// secrets from the environment. The error names every invalid setting and its fix, and shows no secret.
func Read(e Environment) (Settings, error) {
	given := variables(e.Environ())
	rows := runnerTable()
	if err := rows.RemoveSecrets(given, e.Unsetenv); err != nil {
		return Settings{}, err
	}
	var r runnerReader
	var policyErr error
	report, err := rows.Read(given, &r)
	r.NetworksSet = r.private != ""
	r.Networks, policyErr = netpolicy.Parse(r.private, r.allowed)
	err = errors.Join(err, policyErr, r.readBuilder(report.Origins))
	if err != nil {
		return Settings{}, err
	}
	return r.Settings, nil
}

// readBuilder validates the builder's address and the certificate. A remote builder without a
// certificate is valid here, because the gateway may send one.
func (r *runnerReader) readBuilder(origins map[string]string) (err error) {
	r.Builder = r.builder.address
	r.BuilderTLS, err = readIdentity(origins[builderTLSEnv], r.builder.tls)
	if r.Builder == "" {
		return err
	}
	addressErr := identity.CheckAddress(r.Builder, r.BuilderTLS)
	if addressErr != nil && !errors.Is(addressErr, identity.ErrNeeded) {
		err = errors.Join(err, fmt.Errorf("%s: %w", origins["SLIPWAY_BUILDER"], addressErr))
	}
	return err
}

// Probe reports whether the step only checks if it could build, and builds nothing.
func (s Settings) Probe() bool { return strings.HasSuffix(s.URL, spec.ProbePath) }

// buildsPath precedes a build's id in the URLs of the runner protocol.
const buildsPath = "/runner/v1/builds/"

// GitProxy returns the address of the build's repository at the gateway's git proxy. It derives the address
// from URL (package spec). It fails if URL is not the URL of a build.
func (s Settings) GitProxy() (string, error) {
	gateway, build, ok := strings.Cut(s.URL, buildsPath)
	if !ok || build == "" || strings.ContainsAny(build, "/?#") {
		return "", fmt.Errorf(
			"find the gateway's git proxy: %q does not end in %s{id}: check SLIPWAY_RUNNER_URL", s.URL, buildsPath)
	}
	return gateway + "/git/" + build, nil
}

// checkURL checks that text is an http or https URL without user, query and fragment. example is a valid one, for
// the error.
func checkURL(name, text, example string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("%s is not an http or https address: set a URL such as %s", name, example)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New(name + " must have no user, query or fragment")
	}
	return nil
}

// checkToken checks that a token has no white space. action is the operation on it, for example "copied".
func checkToken(name, token, action string) error {
	if strings.ContainsAny(token, " \t\r\n\x00") {
		return fmt.Errorf("%s has white space: check that it was %s completely", name, action)
	}
	return nil
}
