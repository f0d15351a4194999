package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/config/size"
)

// LoadGateway reads the gateway's settings from environment variables in the form of os.Environ,
// and validates them. The error names every invalid setting.
func LoadGateway(environ []string) (Gateway, error) {
	g, err := env.ParseAsWithOptions[Gateway](env.Options{Environment: env.ToMap(environ)})
	if err != nil {
		return Gateway{}, withVariableNames(err)
	}
	g.URL = strings.TrimRight(g.URL, "/")
	g.WebURL = strings.TrimRight(g.WebURL, "/")
	g.APIURL = strings.TrimRight(g.APIURL, "/")
	g.Drone.Server = strings.TrimRight(g.Drone.Server, "/")
	g.Woodpecker.Server = strings.TrimRight(g.Woodpecker.Server, "/")
	if g.Key == "" && g.Database.IsZero() {
		g.Key = filepath.Join(g.Data, "secret.key")
	}
	if err := g.Validate(); err != nil {
		return Gateway{}, err
	}
	return g, nil
}

// withVariableNames replaces field names by environment variables in the errors of values that do
// not parse. The library names only the fields.
func withVariableNames(err error) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return fmt.Errorf("settings: %w", err)
	}
	named := make([]error, len(all.Errors))
	for i, one := range all.Errors {
		named[i] = fmt.Errorf("settings: %w", one)
		var parseErr env.ParseError
		if !errors.As(one, &parseErr) {
			continue
		}
		if name := variableOf(reflect.TypeFor[Gateway](), parseErr.Name); name != "" {
			named[i] = fmt.Errorf("%s: %w", name, parseErr.Err)
		}
	}
	return errors.Join(named...)
}

// variableOf returns the environment variable of the field with this name. Embedded structs share
// field names; then it returns all candidates, for example "SLIPWAY_DRONE_TOKEN or SLIPWAY_WOODPECKER_TOKEN".
// It returns "" for an unknown field.
func variableOf(t reflect.Type, field string) string {
	var names []string
	for _, s := range settingsOf(t, "") {
		if s.field == field {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, " or ")
}

// variable returns the environment variable of a field, without the prefix of its struct.
func variable(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
	return name
}

// minToken is the minimum length of the bearer token for /metrics, in characters.
const minToken = 16

// Validate checks the values of the settings beyond their types. The error names every invalid
// setting.
func (g Gateway) Validate() error {
	var errs []error
	if g.URL == "" {
		errs = append(errs, errors.New("SLIPWAY_URL is not set: set the address of this gateway for people "+
			"and Bitbucket, for example https://slipway.example.com"))
	} else {
		errs = append(errs, checkOrigin("SLIPWAY_URL", g.URL))
	}
	errs = append(
		errs,
		checkOrigin("SLIPWAY_BITBUCKET_URL", g.WebURL),
		checkOrigin("SLIPWAY_BITBUCKET_API_URL", g.APIURL),
	)
	if g.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("SLIPWAY_CONCURRENCY is %d: set at least 1", g.Concurrency))
	}
	if g.BuildTimeout <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_BUILD_TIMEOUT is %s: set a time, for example 4h", g.BuildTimeout))
	}
	if g.QueueTimeout <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_QUEUE_TIMEOUT is %s: set a time, for example 24h", g.QueueTimeout))
	}
	errs = append(errs, g.checkLimits())
	if g.PollInterval <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_POLL_INTERVAL is %s: set a time, for example 5m", g.PollInterval))
	}
	if g.ReconcileInterval <= 0 {
		errs = append(
			errs,
			fmt.Errorf("SLIPWAY_RECONCILE_INTERVAL is %s: set a time, for example 30m", g.ReconcileInterval),
		)
	}
	if g.Keep < 24*time.Hour {
		errs = append(errs, fmt.Errorf("SLIPWAY_KEEP is %s: set at least 24h", g.Keep))
	}
	if n := len(g.MetricsToken.Reveal()); n > 0 && n < minToken {
		errs = append(errs, fmt.Errorf("SLIPWAY_METRICS_TOKEN has %d characters: set %d or more, "+
			"for example the output of `openssl rand -hex 16`", n, minToken))
	}
	switch g.BuilderNetwork {
	case "auto", "cni", "slirp4netns", "host", "none":
	default:
		errs = append(errs,
			fmt.Errorf("SLIPWAY_BUILDER_NETWORK is %q: use auto, cni, slirp4netns, host or none", g.BuilderNetwork))
	}
	if g.CacheDomain != "automated-build" && g.CacheDomain != "workspace" {
		errs = append(errs, fmt.Errorf("SLIPWAY_CACHE_DOMAIN is %q: use automated-build or workspace", g.CacheDomain))
	}
	if _, err := netpolicy.Parse(g.Private, g.Allowed); err != nil {
		errs = append(errs, err)
	}
	if g.Hooks != On && g.Hooks != Off {
		errs = append(errs, fmt.Errorf("SLIPWAY_HOOKS is %q: use on or off", g.Hooks))
	}
	if g.PushHooks != On && g.PushHooks != Off {
		errs = append(errs, fmt.Errorf("SLIPWAY_PUSH_HOOKS is %q: use on or off", g.PushHooks))
	}
	if g.Key == "" {
		errs = append(errs, errors.New("SLIPWAY_KEY_FILE is not set: with SLIPWAY_DATABASE, "+
			"set it to the file of the key that all gateways share"))
	}
	errs = append(errs,
		g.checkEngine(),
		checkCaps("SLIPWAY_CONCURRENCY", g.PerBuild, g.PerWorkspace),
		checkBuilder("SLIPWAY_BUILDER", g.Builder, g.BuilderTLS),
		g.Drone.validate("SLIPWAY_DRONE_"),
		g.Woodpecker.validate("SLIPWAY_WOODPECKER_"))
	return errors.Join(errs...)
}

// maxCPUs is the largest number of processors of a build.
const maxCPUs = 10_000

// checkLimits validates the limits of a build.
func (g Gateway) checkLimits() error {
	var errs []error
	if g.BuildMemory != "" {
		if memory, err := size.Parse(g.BuildMemory); err != nil || memory < 1 {
			errs = append(errs, fmt.Errorf("SLIPWAY_BUILD_MEMORY is %q: set a size, for example 4GB", g.BuildMemory))
		}
	}
	if g.BuildProcesses < 0 {
		errs = append(
			errs,
			fmt.Errorf("SLIPWAY_BUILD_PROCESSES is %d: set a number, for example 4096", g.BuildProcesses),
		)
	}
	if !(g.BuildCPUs >= 0 && g.BuildCPUs <= maxCPUs) { // the comparisons are false for NaN
		errs = append(errs, fmt.Errorf("SLIPWAY_BUILD_CPUS is %g: set a number, for example 1.5", g.BuildCPUs))
	}
	return errors.Join(errs...)
}

// The values of on/off settings.
const (
	On  = "on"
	Off = "off"
)

// checkEngine checks that the default engine is configured.
func (g Gateway) checkEngine() error {
	switch {
	case slices.Contains(g.Engines(), g.Engine):
		return nil
	case g.Engine == "embedded":
		return errors.New("SLIPWAY_ENGINE is embedded, and SLIPWAY_DATABASE is set: all gateways need one builder: " +
			"set SLIPWAY_BUILDER, or choose another engine")
	}
	return fmt.Errorf("SLIPWAY_ENGINE is %q, which is not configured: use one of %s, or set its server",
		g.Engine, strings.Join(g.Engines(), ", "))
}

// checkOrigin checks that value is an http or https URL without user, query and fragment. name is
// the environment variable, for the error.
func checkOrigin(name, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%s: %q is not an http or https address", name, value)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s: %q must have no user, query or fragment", name, u.Redacted())
	}
	return nil
}

// A Setting describes one environment variable, for --help and the documentation.
type Setting struct {
	Name, Default, Help string
	Secret              bool // the type of the field is secret.Secret

	field string // name of the struct's field
}

// Help returns the help text of the settings for --help, one line for each setting.
func Help(all []Setting) string {
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "  %-34s %s", s.Name, s.Help)
		if s.Default != "" {
			fmt.Fprintf(&text, " [%s]", s.Default)
		}
		text.WriteString("\n")
	}
	return text.String()
}

// GatewaySettings lists the gateway's settings in the order of the struct.
func GatewaySettings() []Setting { return describe[Gateway]() }

// describe returns the settings that the tags of the struct T define.
func describe[T any]() []Setting { return settingsOf(reflect.TypeFor[T](), "") }

// settingsOf returns the settings of a struct and of the structs in it, in the order of the fields.
func settingsOf(t reflect.Type, prefix string) []Setting {
	var all []Setting
	for i := range t.NumField() {
		field := t.Field(i)
		if nested, ok := field.Tag.Lookup("envPrefix"); ok || field.Anonymous {
			all = append(all, settingsOf(field.Type, prefix+nested)...)
			continue
		}
		all = append(all, Setting{
			Name:    prefix + variable(field),
			Default: field.Tag.Get("envDefault"),
			Help:    field.Tag.Get("help"),
			Secret:  field.Type == reflect.TypeFor[secret.Secret](),
			field:   field.Name,
		})
	}
	return all
}
