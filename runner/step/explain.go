package step

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"slipway/config/grammar"
	"slipway/runner/logins"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// place returns the settings of this step for a registry.
func (r run) place(host, image string) registry.Place {
	p := registry.Place{
		Host:     host,
		Image:    image,
		Login:    "PLUGIN_LOGINS",
		Insecure: "PLUGIN_INSECURE to " + host,
		Certs:    registry.CertsDir,
		Proxy:    "HTTPS_PROXY",
	}
	if host == hubHost {
		p.Mirror = "PLUGIN_MIRROR"
	}
	if l := r.s.LoginFor(host + "/any"); !l.Anonymous() {
		p.Login = l.Origin
	}
	return p
}

// hubHost is Docker Hub in the names of images.
const hubHost = "docker.io"

// withFix adds the fix to an error of a registry. It returns other errors, and nil, as they are.
func withFix(err error, p registry.Place) error {
	fix := registry.KindOf(err).Fix(p)
	if fix == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, fix)
}

// explainPushError adds the fix, with its setting, to an error of a registry that an image is pushed to. It
// returns other errors, and nil, as they are.
func (r run) explainPushError(image string, err error) error {
	var refused *registry.UnauthorizedError
	var failed *registry.RequestError
	switch {
	case errors.As(err, &refused):
		return r.explainRefusedPush(image, err)
	case errors.As(err, &failed):
		return withFix(err, r.pushPlace(image))
	}
	return err
}

// pushPlace returns the settings for the registry of an image that is pushed.
func (r run) pushPlace(image string) registry.Place {
	p := r.place(grammar.ImageHost(image), r.s.Origins["PLUGIN_REPO"])
	p.Docker = r.dockerTypes()
	return p
}

// dockerTypes returns the change of settings that makes the image have Docker's media types, or "" if it
// has them.
func (r run) dockerTypes() string {
	var off []string
	o := r.s.Build
	for _, row := range []struct {
		oci     bool
		setting string
	}{
		{r.s.Labels.Auto, "auto_label (PLUGIN_AUTO_LABEL) to false"},
		{o.Provenance != "", "provenance (PLUGIN_PROVENANCE) to false"},
		{o.SBOM != "", "sbom (PLUGIN_SBOM) to false"},
		{o.Compression.Type == "zstd", "compression (PLUGIN_COMPRESSION) to gzip"},
		{o.OCI, "oci-mediatypes=false in output (PLUGIN_OUTPUT)"},
	} {
		if row.oci {
			off = append(off, row.setting)
		}
	}
	if off == nil || r.s.Copy.On {
		return ""
	}
	return "for those of Docker, set " + strings.Join(off, ", and ")
}

// explainRefusedPush names the settings of a login that a registry refused for a push.
func (r run) explainRefusedPush(image string, err error) error {
	l := r.s.LoginFor(image)
	switch {
	case !l.Anonymous():
		return fmt.Errorf("the login of %s is wrong or may not push there: %w", l.Origin, err)
	case len(r.s.Images) == 1:
		return fmt.Errorf("PLUGIN_USERNAME and PLUGIN_PASSWORD are not set, and the registry requires a login: %w", err)
	}
	return fmt.Errorf(
		"no setting has a login for %s, and the registry requires one: set PLUGIN_LOGINS (setting logins): %w",
		grammar.ImageHost(image),
		err,
	)
}

// explainBuildRequest adds the fix, with its setting, to a build that failed for a registry: that of a base
// image, or of a cache. It returns other errors as they are.
func (r run) explainBuildRequest(ctx context.Context, err error) error {
	if image := logins.DeniedImage(err); image != "" {
		return r.explainDeniedPull(ctx, image, err)
	}
	used, found := logins.FailedRequest(err)
	if !found && cacheExport().MatchString(err.Error()) {
		used, found = r.firstCache()
	}
	if !found {
		return err
	}
	host := grammar.ImageHost(used.Image)
	if setting := r.s.CacheSettings(used.Image); setting != "" && !used.Base {
		p := r.place(host, setting)
		p.Docker = dockerTypesOfCache(setting, r.cacheAttrs(used.Image))
		return withFix(fmt.Errorf("cache %s of %s: %w", used.Image, setting, err), p)
	}
	p := r.place(host, "the image's name in the Dockerfile")
	p.Reads = true
	return withFix(r.withWords(ctx, used, err), p)
}

// cacheExport matches BuildKit's errors of a cache that it writes, without the name of the registry.
var cacheExport = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`error writing (?:layer|config|manifest)`)
})

// firstCache returns the cache that the build writes to a registry.
func (r run) firstCache() (logins.Request, bool) {
	for _, c := range r.s.Build.CacheTo {
		if ref, err := registry.ParseReference(c.Attrs["ref"]); c.Type == spec.CacheRegistry && err == nil {
			image, _, _ := grammar.SplitReference(ref)
			return logins.Request{Image: image}, true
		}
	}
	return logins.Request{}, false
}

// cacheAttrs returns the attributes of a cache in a repository; nil = no cache is there.
func (r run) cacheAttrs(image string) map[string]string {
	for _, c := range slices.Concat(r.s.Build.CacheTo, r.s.Build.CacheFrom) {
		ref, err := registry.ParseReference(c.Attrs["ref"])
		if name, _, _ := grammar.SplitReference(ref); err == nil && name == image {
			return c.Attrs
		}
	}
	return nil
}

// dockerTypesOfCache returns the change of a setting that makes a cache have Docker's media types, or "" if it
// has them.
func dockerTypesOfCache(setting string, attrs map[string]string) string {
	change := "for those of Docker, set oci-mediatypes=false"
	if on, err := strconv.ParseBool(attrs["oci-mediatypes"]); err == nil && !on {
		return ""
	}
	if on, err := strconv.ParseBool(attrs["image-manifest"]); err == nil && on {
		change += " and image-manifest=false"
	}
	if !strings.Contains(setting, cacheToName) { // the other settings have no attributes
		setting = cacheToName + ", in place of " + setting
	}
	return change + " in " + setting
}

// cacheToName is the setting of a cache with attributes.
const cacheToName = "PLUGIN_CACHE_TO"

// withWords adds the registry's own words about a base image, if the error lacks them. BuildKit asks with
// HEAD, whose response has none.
func (r run) withWords(ctx context.Context, used logins.Request, err error) error {
	if used.Reference == "" || !builderMayPush(r.s.Builder, used.Image) || !headOnly(err) {
		return err
	}
	words := r.registry.AskWords(ctx, used.Reference, r.loginFor(used.Image))
	said := words[strings.LastIndex(words, ": ")+1:]
	if words == "" || strings.Contains(err.Error(), said) {
		return err
	}
	return fmt.Errorf("%w: %s", err, words)
}

// headOnly reports whether an error is that of a response without a body.
func headOnly(err error) bool {
	switch registry.KindOf(err) {
	case registry.KindLogin, registry.KindDenied, registry.KindNoRepository, registry.KindTooMany, registry.KindServer:
		return true
	}
	return false
}

// explainDeniedPull names the login's settings if a registry refused a base image to the build.
func (r run) explainDeniedPull(ctx context.Context, image string, err error) error {
	used, _ := logins.FailedRequest(err)
	err = r.withWords(ctx, used, err)
	if l := r.s.LoginFor(image); !l.Anonymous() {
		return fmt.Errorf(
			"%w; the login of %s is wrong or may not read there: check user name, password and permissions",
			err,
			l.Origin,
		)
	}
	return fmt.Errorf(
		"%w; no setting has a login for %s: if the image exists, set PLUGIN_LOGINS (setting logins) "+
			"or PLUGIN_BASE_IMAGE_REGISTRY, _USERNAME and _PASSWORD",
		err,
		grammar.ImageHost(image),
	)
}
