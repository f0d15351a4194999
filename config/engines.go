package config

import (
	"errors"
	"fmt"
	"regexp"

	"slipway/config/identity"
	"slipway/config/secret"
)

// CI configures an engine that runs pipelines on the server of an existing CI. The engine exists
// only if Server is set.
type CI struct {
	Server       string            `env:"SERVER" help:"origin of the CI server, for example https://ci.example.com; without it the engine is off"`
	Token        secret.Secret     `env:"TOKEN,unset" help:"token of the user that starts the pipelines"`
	Repository   string            `env:"REPOSITORY" help:"builder repository that runs all pipelines, for example acme/builder; default: each repository runs its own"`
	Image        string            `env:"IMAGE" envDefault:"slipway" help:"image of the build step, which contains this program; if steps run without containers, the path of the program"`
	Builder      string            `env:"BUILDER" help:"address of the builder that steps use (tcp://…); default: each step starts its own, which needs privilege"`
	BuilderTLS   secret.Secret     `env:"BUILDER_TLS,unset" help:"client certificate for that builder: the absolute path of a file of slipway builder keys, or its PEM; each step gets it from the gateway"`
	Labels       map[string]string `env:"LABELS" envKeyValSeparator:"=" help:"labels of the agents that may run the step, for example disk=ssd,zone=a"`
	Concurrency  int               `env:"CONCURRENCY" envDefault:"0" help:"parallel builds; 0 = no limit"`
	PerBuild     int               `env:"CONCURRENCY_PER_BUILD" help:"parallel builds of one automated build; default: half of CONCURRENCY, rounded up"`
	PerWorkspace int               `env:"CONCURRENCY_PER_WORKSPACE" help:"parallel builds of one workspace; default: CONCURRENCY less one, if automated builds of other workspaces use the engine"`
}

// Woodpecker configures the engine that runs pipelines on Woodpecker.
type Woodpecker struct {
	CI
	Extensions string `env:"EXTENSIONS" envDefault:"repository" help:"where the extensions are set: repository (by the gateway, on the builder repository) or server (by an administrator)"`
}

// The places where Woodpecker's extensions are set (Woodpecker.Extensions).
const (
	ExtensionsOnRepository = "repository"
	ExtensionsOnServer     = "server"
)

// validate returns one error for each invalid setting, joined. prefix begins the names of the environment
// variables, for example SLIPWAY_WOODPECKER_.
func (w Woodpecker) validate(prefix string) error {
	if w.Server == "" {
		return nil
	}
	err := w.CI.validate(prefix)
	if w.Extensions != ExtensionsOnRepository && w.Extensions != ExtensionsOnServer {
		err = errors.Join(err, fmt.Errorf("%sEXTENSIONS is %q: use repository or server", prefix, w.Extensions))
	}
	return err
}

// Drone configures the engine that runs pipelines on Drone. Drone has several kinds of runners.
type Drone struct {
	CI
	Type     string `env:"TYPE" envDefault:"docker" help:"kind of the runners: docker, kubernetes or exec"`
	Platform string `env:"PLATFORM" envDefault:"linux/amd64" help:"platform of the runners"`
}

// platformPattern matches the platform of a Drone runner: os/arch, for example linux/amd64.
const platformPattern = `^[a-z]+/[a-z0-9]+$`

// validate returns one error for each invalid setting, joined. prefix begins the names of the environment
// variables, for example SLIPWAY_DRONE_.
func (d Drone) validate(prefix string) error {
	if d.Server == "" {
		return nil
	}
	err := d.CI.validate(prefix)
	switch d.Type {
	case "docker", "kubernetes", "exec":
	default:
		err = errors.Join(err, fmt.Errorf("%sTYPE is %q: use docker, kubernetes or exec", prefix, d.Type))
	}
	if !regexp.MustCompile(platformPattern).MatchString(d.Platform) {
		err = errors.Join(err, fmt.Errorf("%sPLATFORM is %q: set os/arch, for example linux/amd64", prefix, d.Platform))
	}
	return err
}

// fullNamePattern matches owner/name, in characters that need no escaping in URLs and in YAML.
const fullNamePattern = `^[A-Za-z0-9_.~-]+/[A-Za-z0-9_.-]+$`

// validate returns one error for each invalid setting, joined. prefix begins the names of the environment
// variables, for example SLIPWAY_WOODPECKER_.
func (c CI) validate(prefix string) error {
	if c.Server == "" {
		return nil
	}
	errs := []error{checkOrigin(prefix+"SERVER", c.Server)}
	if c.Token.IsZero() {
		errs = append(errs, fmt.Errorf("%sTOKEN is not set: set the token of the user on %s that starts the pipelines",
			prefix, c.Server))
	}
	if c.Repository != "" && !regexp.MustCompile(fullNamePattern).MatchString(c.Repository) {
		errs = append(
			errs,
			fmt.Errorf("%sREPOSITORY is %q: set owner/name, for example acme/builder", prefix, c.Repository),
		)
	}
	if c.Image == "" {
		errs = append(errs, fmt.Errorf("%sIMAGE is empty: set the image of the build step", prefix))
	}
	if c.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("%sCONCURRENCY is %d: set 1 or more, or 0 for no limit", prefix, c.Concurrency))
	}
	errs = append(errs, checkCaps(prefix+"CONCURRENCY", c.PerBuild, c.PerWorkspace))
	return errors.Join(append(errs, checkBuilder(prefix+"BUILDER", c.Builder, c.BuilderTLS))...)
}

// checkCaps checks the limits of one automated build and of one workspace; 0 = the default. name is the
// variable of the limit of all builds, for example SLIPWAY_CONCURRENCY.
func checkCaps(name string, perBuild, perWorkspace int) error {
	var errs []error
	if perBuild < 0 {
		errs = append(errs, fmt.Errorf("%s_PER_BUILD is %d: set at least 1", name, perBuild))
	}
	if perWorkspace < 0 {
		errs = append(errs, fmt.Errorf("%s_PER_WORKSPACE is %d: set at least 1", name, perWorkspace))
	}
	return errors.Join(errs...)
}

// checkBuilder checks a builder's address (empty = none) and the client certificate for it. name is the
// variable of the address, for example SLIPWAY_BUILDER. The variable of the certificate is name + "_TLS".
func checkBuilder(name, address string, tls secret.Secret) error {
	client, err := identity.Read(tls)
	switch {
	case err != nil:
		return fmt.Errorf("%s_TLS: %w", name, err)
	case address == "" && !client.IsZero():
		return fmt.Errorf("%s_TLS is set, but %s is not: set the builder's address", name, name)
	case address == "":
		return nil
	}
	err = identity.CheckAddress(address, client)
	if errors.Is(err, identity.ErrNeeded) {
		return fmt.Errorf("%s_TLS is not set: %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Engines returns the names of the configured engines. The engine own is always configured. The engine
// embedded is missing if SLIPWAY_DATABASE is set without SLIPWAY_BUILDER. Several gateways may share the
// database, and their builds share the cache, so they need one common builder.
func (g Gateway) Engines() []string {
	names := []string{"own"}
	if g.Database.IsZero() || g.Builder != "" {
		names = []string{"embedded", "own"}
	}
	if g.Drone.Server != "" {
		names = append(names, "drone")
	}
	if g.Woodpecker.Server != "" {
		names = append(names, "woodpecker")
	}
	return names
}
