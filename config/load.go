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

	"slipway/config/secret"
)

// LoadGateway reads the gateway's settings from an environment (as os.Environ gives it)
// and checks them. Its error names every setting that is wrong.
func LoadGateway(environ []string) (Gateway, error) {
	g, err := env.ParseAsWithOptions[Gateway](env.Options{Environment: env.ToMap(environ)})
	if err != nil {
		return Gateway{}, unreadable(err)
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

// unreadable names the variables whose values their types do not take: the library names the
// fields.
func unreadable(err error) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return fmt.Errorf("settings: %w", err)
	}
	named := make([]error, len(all.Errors))
	for i, one := range all.Errors {
		named[i] = fmt.Errorf("settings: %w", one)
		var fault env.ParseError
		if !errors.As(one, &fault) {
			continue
		}
		if name := variableOf(reflect.TypeFor[Gateway](), fault.Name); name != "" {
			named[i] = fmt.Errorf("%s: %w", name, fault.Err)
		}
	}
	return errors.Join(named...)
}

// variableOf is the environment variable of a field that is known by its name alone; of the
// structs within, which share theirs, all that it may be.
func variableOf(t reflect.Type, field string) string {
	var names []string
	for _, s := range settingsOf(t, "") {
		if s.field == field {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, " or ")
}

// variable is the environment variable of a field.
func variable(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
	return name
}

// minToken is the shortest bearer token that may be chosen, in characters.
const minToken = 16

// Validate checks what types cannot say. Its error names every setting that is wrong.
func (g Gateway) Validate() error {
	var errs []error
	if g.URL == "" {
		errs = append(errs, errors.New("SLIPWAY_URL is not set: give the address that people and Bitbucket reach this gateway by, as https://slipway.example.com"))
	} else {
		errs = append(errs, checkOrigin("SLIPWAY_URL", g.URL))
	}
	errs = append(errs, checkOrigin("SLIPWAY_BITBUCKET_URL", g.WebURL), checkOrigin("SLIPWAY_BITBUCKET_API_URL", g.APIURL))
	if g.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("SLIPWAY_CONCURRENCY is %d: at least 1 is needed", g.Concurrency))
	}
	if g.BuildTimeout <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_BUILD_TIMEOUT is %s: give a time like 4h", g.BuildTimeout))
	}
	if g.PollInterval <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_POLL_INTERVAL is %s: give a time like 5m", g.PollInterval))
	}
	if g.Reconcile <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_RECONCILE_INTERVAL is %s: give a time like 30m", g.Reconcile))
	}
	if g.Keep < 24*time.Hour {
		errs = append(errs, fmt.Errorf("SLIPWAY_KEEP is %s: keep a day at least, 24h", g.Keep))
	}
	if n := len(g.MetricsToken.Reveal()); n > 0 && n < minToken {
		errs = append(errs, fmt.Errorf("SLIPWAY_METRICS_TOKEN has %d characters: give %d or more, as openssl rand -hex 16 prints", n, minToken))
	}
	switch g.BuilderNetwork {
	case "auto", "cni", "slirp4netns", "host", "none":
	default:
		errs = append(errs, fmt.Errorf("SLIPWAY_BUILDER_NETWORK is %q: use auto, cni, slirp4netns, host or none", g.BuilderNetwork))
	}
	if g.PushHooks != On && g.PushHooks != Off {
		errs = append(errs, fmt.Errorf("SLIPWAY_PUSH_HOOKS is %q: use on or off", g.PushHooks))
	}
	if g.Key == "" {
		errs = append(errs, errors.New("SLIPWAY_KEY_FILE is not set: with SLIPWAY_DATABASE, give the file of the key that all gateways share"))
	}
	errs = append(errs, g.checkEngine())
	errs = append(errs, checkBuilder("SLIPWAY_BUILDER", g.Builder, g.BuilderTLS), g.Drone.validate("SLIPWAY_DRONE_"), g.Woodpecker.validate("SLIPWAY_WOODPECKER_"))
	return errors.Join(errs...)
}

// The values of settings that are switches.
const (
	On  = "on"
	Off = "off"
)

func (g Gateway) checkEngine() error {
	switch {
	case slices.Contains(g.Engines(), g.Engine):
		return nil
	case g.Engine == "embedded":
		return errors.New("SLIPWAY_ENGINE is embedded, which with SLIPWAY_DATABASE needs a builder for all gateways: set SLIPWAY_BUILDER, or choose another engine")
	}
	return fmt.Errorf("SLIPWAY_ENGINE is %q, and configured are %s: choose one of them, or give its server", g.Engine, strings.Join(g.Engines(), ", "))
}

func checkOrigin(name, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%s: %q is no http or https address", name, value)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s: %q must have no user, query or fragment", name, u.Redacted())
	}
	return nil
}

// A Setting describes one environment variable, for --help and the documentation.
type Setting struct {
	Name, Default, Help string
	Secret              bool // its type is secret.Secret

	field string // of the struct
}

// Help is the text of settings in --help, a line each.
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

// describe reads the settings out of a struct's tags.
func describe[T any]() []Setting { return settingsOf(reflect.TypeFor[T](), "") }

func settingsOf(t reflect.Type, prefix string) []Setting {
	var all []Setting
	for i := range t.NumField() {
		field := t.Field(i)
		if within, ok := field.Tag.Lookup("envPrefix"); ok || field.Anonymous {
			all = append(all, settingsOf(field.Type, prefix+within)...)
			continue
		}
		all = append(all, Setting{
			Name: prefix + variable(field), Default: field.Tag.Get("envDefault"), Help: field.Tag.Get("help"), field: field.Name,
			Secret: field.Type == reflect.TypeFor[secret.Secret](),
		})
	}
	return all
}
