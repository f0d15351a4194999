// Package logins separates the registry logins of an attempt: those for pushes, those for the build, and
// those for build hooks. Code of the repository runs in the last two.
package logins

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"slipway/config/grammar"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// Logins are the registry logins of one attempt.
type Logins struct {
	Push  []spec.RegistryCredential // used by this process only
	Build []spec.RegistryCredential // sent to the builder on request, to read base images
	Hooks []spec.RegistryCredential // credentials of the build hooks that push
	// HooksMayPush reports whether hooks that push get the logins in Hooks. If not, a hook that has to
	// push cannot work.
	HooksMayPush bool

	image        string
	inRepository bool
	ofStep       bool // Push holds the step's logins
}

// A Step is the logins that a step in the repository's own pipeline brings: secrets of its CI.
type Step struct {
	Credentials []spec.RegistryCredential
}

// Of returns the logins of an attempt. The gateway's push credential goes to no build, and to
// hooks only with spec.PushHooks.
//
// step is nil if an engine of the gateway started the runner. Otherwise the users of the repository hold
// its logins anyway. So a login pushes if it fits the image, and the build and its hooks may use it as in
// any other step.
func Of(s spec.Spec, step *Step) Logins {
	l := Logins{Push: s.PushCredentials(), Build: s.BuildCredentials(), HooksMayPush: s.PushHooks, image: s.Image}
	if s.PushHooks {
		l.Hooks = withLogin(l.Push)
	}
	if step == nil {
		return l
	}
	l.inRepository = true
	own := spec.Spec{Registries: step.Credentials}.PushCredentials()
	l.Build = slices.Concat(step.Credentials, l.Build)
	if hasLogin(registry.LoginFor(s.Image, own)) {
		l.Push, l.Hooks = own, withLogin(own)
		l.HooksMayPush, l.ofStep = true, true
		return l
	}
	for _, r := range own { // keep the fact that a registry uses plain HTTP
		if r.Insecure {
			l.Push = append(l.Push, spec.RegistryCredential{Host: r.Host, Insecure: true})
		}
	}
	return l
}

// ForImage returns the login that pushes the image.
func (l Logins) ForImage() registry.Login { return registry.LoginFor(l.image, l.Push) }

// withLogin omits entries without a login, which only mark a registry as plain HTTP.
func withLogin(all []spec.RegistryCredential) []spec.RegistryCredential {
	return slices.DeleteFunc(slices.Clone(all), func(r spec.RegistryCredential) bool {
		return r.Username == "" && r.Password.IsZero()
	})
}

func hasLogin(l registry.Login) bool { return l.Username != "" || !l.Password.IsZero() }

// Explain adds the fix to an error if a registry refused a login, or refused a base image to a build. It
// returns other errors as they are.
func (l Logins) Explain(err error) error {
	if err == nil {
		return nil
	}
	var refused *registry.UnauthorizedError
	if errors.As(err, &refused) {
		return l.explainPush(refused.Host, err)
	}
	if image := DeniedImage(err); image != "" {
		return l.explainPull(image, err)
	}
	return l.explainRequest(err)
}

// explainRequest adds the fix to an error of a registry that refused no login.
func (l Logins) explainRequest(err error) error {
	var failed *registry.RequestError
	p := registry.Place{Certs: registry.CertsDir, Proxy: "HTTPS_PROXY"}
	used, inBuild := FailedRequest(err)
	switch {
	case errors.As(err, &failed):
		p.Host, p.Image = failed.Host, "the image of the automated build"
	case inBuild:
		p.Host, p.Image = grammar.ImageHost(used.Image), "the image's name in the Dockerfile"
		p.Reads = true
		p.Mirror = "SLIPWAY_BUILDER_MIRRORS"
	default:
		return err
	}
	p.Login = "a credential for " + p.Host + " under Settings → Registries"
	p.Insecure = "“Insecure” at its credential under Settings → Registries"
	if l.inRepository {
		p.Login, p.Insecure = "PLUGIN_LOGINS", "PLUGIN_INSECURE"
	}
	if p.Host != "docker.io" {
		p.Mirror = ""
	}
	fix := registry.KindOf(err).Fix(p)
	if fix == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, fix)
}

func (l Logins) explainPush(host string, err error) error {
	switch {
	case l.ofStep:
		return fmt.Errorf(
			"the registry refused the step's own login: check PLUGIN_USERNAME and PLUGIN_PASSWORD: %w",
			err,
		)
	case hasLogin(l.ForImage()):
		return err // the error names the settings to check
	case l.inRepository:
		return fmt.Errorf(
			"the step has no login for %s, and no credential of the gateway is bound to its automated build: "+
				"set username and password (PLUGIN_USERNAME, PLUGIN_PASSWORD) from secrets of the CI: %w",
			host,
			err,
		)
	}
	return fmt.Errorf("no push credential is stored for %s: add one under Settings → Registries: %w", l.image, err)
}

func (l Logins) explainPull(image string, err error) error {
	host := grammar.ImageHost(image)
	if l.inRepository {
		return fmt.Errorf("the build has no login that may read %s: set PLUGIN_BASE_IMAGE_REGISTRY=%s, "+
			"PLUGIN_BASE_IMAGE_USERNAME and PLUGIN_BASE_IMAGE_PASSWORD: %w", image, host, err)
	}
	return fmt.Errorf(
		"the build has no credential that may read %s: add a pull credential for %s under Settings → Registries "+
			"(a build never gets the push credential): %w",
		image,
		host,
		err,
	)
}

// A Request is a request of a build to a registry.
type Request struct {
	Image     string // without tag and digest, for example docker.io/library/debian
	Reference string // the image with its tag or digest; empty = unknown
	Base      bool   // it was for the metadata of a base image
}

// metadata and url match BuildKit's errors for a base image, and for a request to a registry.
var (
	metadata = regexp.MustCompile(`failed to resolve source metadata for (\S+): `)
	url      = regexp.MustCompile(`https?://([^/"\s]+)/v2/([^"\s?]+?)/(?:manifests|blobs|tags)/`)
)

// FailedRequest returns the request to a registry that made a build fail. It returns false if the error is
// another one.
func FailedRequest(err error) (Request, bool) {
	text := err.Error()
	if found := metadata.FindStringSubmatch(text); found != nil {
		image, _, _ := grammar.SplitReference(found[1])
		return Request{Image: image, Reference: found[1], Base: true}, true
	}
	if found := url.FindStringSubmatch(text); found != nil {
		image, parseErr := registry.ParseImage(found[1] + "/" + found[2])
		return Request{Image: image}, parseErr == nil
	}
	return Request{}, false
}

// denied matches BuildKit's error for an image that the registry does not let it read.
var denied = regexp.MustCompile(`(?s)failed to resolve source metadata for (\S+): ` +
	`.*(401 Unauthorized|403 Forbidden|pull access denied|authorization failed|failed to authorize)`)

// DeniedImage returns the base image, without tag and digest, that a registry did not let a build
// read. It is empty for any other error.
func DeniedImage(err error) string {
	found := denied.FindStringSubmatch(err.Error())
	if found == nil {
		return ""
	}
	image, _, _ := grammar.SplitReference(found[1])
	return image
}
