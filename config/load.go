package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
)

// LoadGateway reads the gateway's settings from an environment (as os.Environ gives it)
// and checks them. Its error names every setting that is wrong.
func LoadGateway(environ []string) (Gateway, error) {
	g, err := env.ParseAsWithOptions[Gateway](env.Options{Environment: toMap(environ)})
	if err != nil {
		return Gateway{}, fmt.Errorf("settings: %w", err)
	}
	g.URL = strings.TrimRight(g.URL, "/")
	g.WebURL = strings.TrimRight(g.WebURL, "/")
	g.APIURL = strings.TrimRight(g.APIURL, "/")
	if g.Key == "" {
		g.Key = filepath.Join(g.Data, "secret.key")
	}
	if err := g.Validate(); err != nil {
		return Gateway{}, err
	}
	return g, nil
}

// Validate checks what types cannot say. Its error names every setting that is wrong.
func (g Gateway) Validate() error {
	var errs []error
	for name, value := range map[string]string{"SLIPWAY_BITBUCKET_URL": g.WebURL, "SLIPWAY_BITBUCKET_API_URL": g.APIURL, "SLIPWAY_URL": g.URL} {
		if name == "SLIPWAY_URL" && value == "" {
			errs = append(errs, errors.New("SLIPWAY_URL is not set: give the address that people and Bitbucket reach this gateway by, as https://slipway.example.com"))
			continue
		}
		if err := checkOrigin(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if g.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("SLIPWAY_CONCURRENCY is %d: at least 1 is needed", g.Concurrency))
	}
	if g.BuildTimeout <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_BUILD_TIMEOUT is %s: give a time like 4h", g.BuildTimeout))
	}
	if g.PollInterval <= 0 {
		errs = append(errs, fmt.Errorf("SLIPWAY_POLL_INTERVAL is %s: give a time like 5m", g.PollInterval))
	}
	switch g.BuilderNetwork {
	case "auto", "cni", "slirp4netns", "host", "none":
	default:
		errs = append(errs, fmt.Errorf("SLIPWAY_BUILDER_NETWORK is %q: use auto, cni, slirp4netns, host or none", g.BuilderNetwork))
	}
	return errors.Join(errs...)
}

func checkOrigin(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%q is no http or https address", value)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q must have no user, query or fragment", u.Redacted())
	}
	return nil
}

// A Setting describes one environment variable, for --help and the documentation.
type Setting struct {
	Name, Default, Help string
}

// GatewaySettings lists the gateway's settings in the order of the struct.
func GatewaySettings() []Setting { return describe[Gateway]() }

// describe reads the settings out of a struct's tags.
func describe[T any]() []Setting {
	var all []Setting
	t := reflect.TypeFor[T]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("env"), ",")
		all = append(all, Setting{Name: name, Default: tag.Get("envDefault"), Help: tag.Get("help")})
	}
	return all
}

func toMap(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			m[name] = value
		}
	}
	return m
}
