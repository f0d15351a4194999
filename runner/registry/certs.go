package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// CertsDir is the directory of registries' certificates, shared with Docker. HOST:PORT/*.crt are
// certificate authorities; *.cert with *.key are client certificates.
// Source: https://docs.docker.com/engine/security/certificates/
const CertsDir = "/etc/docker/certs.d"

// maxCert bounds one file of certificates, in bytes.
const maxCert = 1 << 20

// certsTransport is a transport that uses, for each registry, the certificates in its directory below dir.
// For registries without a directory it uses base. It is safe for concurrent use.
type certsTransport struct {
	dir      string
	base     *http.Transport
	guard    Guard
	guarded  http.RoundTripper // the guarded base
	insecure bool              // accept every certificate

	mu     sync.Mutex
	byHost map[string]http.RoundTripper
}

var _ http.RoundTripper = (*certsTransport)(nil)

// newCertsTransport returns a transport that guards each transport that it uses. guard may be nil. With
// insecure it accepts every certificate of a registry.
func newCertsTransport(dir string, base *http.Transport, guard Guard, insecure bool) *certsTransport {
	if guard == nil {
		guard = func(t *http.Transport) http.RoundTripper { return t }
	}
	if insecure {
		base = base.Clone()
		//nolint:gosec // the setting insecure asks for it
		base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	}
	return &certsTransport{
		dir:      dir,
		base:     base,
		guard:    guard,
		guarded:  guard(base),
		insecure: insecure,
		byHost:   map[string]http.RoundTripper{},
	}
}

func (t *certsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	transport, err := t.transportFor(r.URL.Host)
	if err != nil {
		return nil, fmt.Errorf("certificates for %s: %w", r.URL.Host, err)
	}
	return transport.RoundTrip(r)
}

func (t *certsTransport) transportFor(host string) (http.RoundTripper, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.byHost[host]; known != nil {
		return known, nil
	}
	transport := t.guarded
	config, err := TLSConfigIn(t.dir, host)
	if err != nil {
		return nil, err
	}
	if config != nil {
		config.InsecureSkipVerify = t.insecure
		own := t.base.Clone()
		own.TLSClientConfig = config
		transport = t.guard(own)
	}
	t.byHost[host] = transport
	return transport, nil
}

// TLSConfig returns the TLS configuration of a registry ("registry.example.com:5000") with the certificates
// in CertsDir, or nil if it has none there.
func TLSConfig(host string) (*tls.Config, error) { return TLSConfigIn(CertsDir, host) }

// TLSConfigIn is like TLSConfig, with another directory than CertsDir.
func TLSConfigIn(dir, host string) (*tls.Config, error) {
	if !filepath.IsLocal(host) {
		return nil, nil
	}
	folder := filepath.Join(dir, host)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		return nil, err
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		switch filepath.Ext(path) {
		case ".crt":
			err = addAuthority(config.RootCAs, path)
		case ".cert":
			var pair tls.Certificate
			pair, err = tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
			config.Certificates = append(config.Certificates, pair)
		}
		if err != nil {
			return nil, err
		}
	}
	return config, nil
}

func addAuthority(pool *x509.CertPool, path string) error {
	file, err := os.Open(path) //nolint:gosec // of the operator's directory; the host is a local name
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxCert))
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return err
}
