package hookproxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/registryproxy"
	"slipway/runner/spec"
)

// An Image is the image that hooks may push. All fields but Login are required.
type Image struct {
	Name  string         // without a tag, e.g. registry.example.com/acme/app
	Login registry.Login // pushes the image; hooks do not get it
	// Permit is called before a tag moves. It wraps registryproxy.ErrRefused in an error that hooks may
	// read.
	Permit func(ctx context.Context, tag, digest string) error
}

// tlsTimeout bounds the response of a registry that may use plain HTTP.
const tlsTimeout = 5 * time.Second

// dockerHub are the host names that clients use for the registry of Docker Hub.
func dockerHub() []string { return []string{name.DefaultRegistry, "registry-1.docker.io", "docker.io"} }

// addRegistry adds the servers in place of the image's registry.
func (p *Proxies) addRegistry(image Image) error {
	var options []name.Option
	if image.Login.Insecure {
		options = append(options, name.Insecure)
	}
	repository, err := name.NewRepository(image.Name, options...)
	if err != nil {
		return fmt.Errorf("serve the image's registry to build hooks: %w", err)
	}
	registryName := strings.TrimSuffix(strings.ToLower(repository.RegistryStr()), ":443")
	config, err := tlsConfig(registryName, image.Login.Insecure)
	if err != nil {
		return err
	}
	upstream := &url.URL{Scheme: "https", Host: registryName}
	// A registry that may use plain HTTP may still use TLS. The runner pushes with go-containerregistry,
	// which also tries TLS first.
	if repository.Scheme() == "http" && !respondsWithTLS(p.attempt, upstream, config) {
		upstream.Scheme = "http"
	}
	names := []string{registryName}
	if registryName == name.DefaultRegistry {
		names = dockerHub()
	}
	// Do not use the attempt's token. It gives access to the runner protocol, and so to the credential
	// in the claim.
	token := secret.New(rand.Text())
	p.registry, err = registryproxy.New(p.attempt, registryproxy.Options{
		Names:        names,
		Token:        token,
		Repositories: []string{repository.RepositoryStr()},
		Upstream:     upstream,
		TLS:          config,
		Policy:       p.allowing(upstream),
		Login: func(context.Context) (registryproxy.Login, error) {
			return registryproxy.Login{Username: image.Login.Username, Password: image.Login.Password}, nil
		},
		Permit: func(ctx context.Context, _, tag, digest string) error { return image.Permit(ctx, tag, digest) },
		Log:    p.log,
	})
	if err != nil {
		return err
	}
	for _, n := range names {
		host, port, _ := strings.Cut(n, ":")
		number, err := strconv.Atoi(cmp.Or(port, strconv.Itoa(httpsPort)))
		if err != nil {
			return fmt.Errorf("serve registry %s to build hooks: %w", n, err)
		}
		if err := p.add(site{host: host, port: number, handler: p.registry}); err != nil {
			return fmt.Errorf("serve registry %s to build hooks: %w", n, err)
		}
	}
	p.logins = []spec.RegistryCredential{
		{Host: registryName, Credential: spec.Credential{Username: "build", Password: token}},
	}
	return nil
}

// tlsConfig returns the TLS configuration of a registry. As for the runner's own pushes, the certificate of an
// insecure registry is not checked.
func tlsConfig(host string, insecure bool) (*tls.Config, error) {
	config, err := registry.TLSConfig(host)
	if err != nil || !insecure {
		return config, err
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.InsecureSkipVerify = true
	return config, nil
}

// allowing returns the attempt's policy, which also allows the registry itself.
func (p *Proxies) allowing(registry *url.URL) netpolicy.Policy {
	policy := p.policy
	policy.Allow = []string{withPort(registry)}
	return policy
}

// respondsWithTLS reports whether a registry responds to a request with TLS.
func respondsWithTLS(ctx context.Context, upstream *url.URL, config *tls.Config) bool {
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, upstream.String()+"/v2/", http.NoBody)
	if err != nil {
		return false
	}
	policy := netpolicy.Policy{Allow: []string{withPort(upstream)}} // no other address is dialed
	transport := &http.Transport{DialContext: policy.DialContext, TLSClientConfig: config, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // it was not read
	return true
}

// withPort returns the host and port of a URL.
func withPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := httpsPort
	if u.Scheme == "http" {
		port = httpPort
	}
	return net.JoinHostPort(u.Host, strconv.Itoa(port))
}

// Logins returns the login that pushes the image in the sandbox, and nowhere else; nil = no login.
func (p *Proxies) Logins() []spec.RegistryCredential { return p.logins }

// Tags returns the tags that hooks moved, each once with its last result.
func (p *Proxies) Tags() []spec.TagResult {
	if p.registry == nil {
		return nil
	}
	var tags []spec.TagResult
	for _, push := range p.registry.Pushes() {
		if push.Tag == "" {
			continue
		}
		result := spec.TagResult{Tag: push.Tag}
		if push.Unknown {
			result.Error = "the registry did not answer, so the tag may have moved"
		}
		i := slices.IndexFunc(tags, func(t spec.TagResult) bool { return t.Tag == push.Tag })
		if i < 0 {
			tags = append(tags, result)
			continue
		}
		tags[i] = result
	}
	return tags
}
