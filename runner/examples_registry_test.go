package runner_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/runner/ecr/ecrtest"
)

// An internet is a proxy that stands for every host of the examples, over TLS. It passes requests on to
// one real registry, and records each request with its user. Each example has its own hosts, which
// are empty at first.
type internet struct {
	proxy  string            // its address, for HTTP_PROXY and HTTPS_PROXY
	ca     string            // file
	direct http.RoundTripper // to the registry
	behind *httputil.ReverseProxy
	amazon *ecrtest.Server // the API of Amazon's registry, at api.ecr.…
	mu     sync.Mutex
	now    string            // the example that runs
	logins map[string]string // user:password, by the hosts that require a login
	plain  []string          // hosts without TLS
	calls  []string
}

const (
	dockerHub = "docker.io"
	inside    = "registry.test" // host name of the real registry
)

// newInternet starts the registry and the proxy. It skips the test if the registry is not installed.
func newInternet(t *testing.T) *internet {
	t.Helper()
	socket := startRegistry(t)
	n := &internet{amazon: ecrtest.New(t), ca: filepath.Join(openDir(t), "ca.pem")}
	n.direct = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	n.behind = &httputil.ReverseProxy{
		Rewrite: n.toRegistry, Transport: n.direct,
		ModifyResponse: func(r *http.Response) error { // its paths begin with the example's prefix
			if to := r.Header.Get("Location"); to != "" {
				r.Header.Set("Location", strings.Replace(to, r.Request.Header.Get(prefixHeader), "/v2/", 1))
			}
			return nil
		},
	}
	secure := httptest.NewUnstartedServer(n)
	secure.TLS = &tls.Config{GetCertificate: authority(t, n.ca), MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	var plain *httptest.Server
	plain = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			n.ServeHTTP(w, r)
			return
		}
		to := secure
		if n.isPlain(hostOf(r)) {
			to = plain // it responds to a TLS client in plain HTTP
		}
		tunnel(w, to.Listener.Addr().String())
	}))
	t.Cleanup(plain.Close)
	n.proxy = plain.URL
	return n
}

// begin starts an example: it clears the calls, and sets the hosts that require a login.
func (n *internet) begin(name string, e example) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now, n.logins, n.plain, n.calls = name, e.Logins, e.Plain, nil
}

func (n *internet) isPlain(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.plain, host)
}

// written returns the recorded calls without duplicates. They are sorted because the number of
// concurrent calls varies.
func (n *internet) written() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.calls)
	return slices.Compact(n.calls)
}

var (
	apiPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags)/(.+)$`)
	hashes  = regexp.MustCompile(`[0-9a-f]{64}`)
)

// ServeHTTP checks the login, if the host requires one, and passes the call on.
func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostOf(r)
	if strings.HasPrefix(host, "api.ecr.") {
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		n.note(action + " " + host)
		n.amazon.ServeHTTP(w, r)
		return
	}
	user, password, _ := r.BasicAuth()
	n.mu.Lock()
	login, asks := n.logins[host]
	n.mu.Unlock()
	if asks && user+":"+password != login {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+host+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	n.write(r, host, user)
	if r.URL.Path == "/v2/" {
		w.WriteHeader(http.StatusOK)
		return
	}
	n.behind.ServeHTTP(w, r)
}

// write records a call as "PUT registry.example.com/acme/app manifests/latest as ci". The several calls
// for one blob become one line.
func (n *internet) write(r *http.Request, host, user string) {
	line := r.Method + " " + host + r.URL.Path
	if part := apiPath.FindStringSubmatch(r.URL.Path); part != nil {
		what := part[2] + "/" + hashes.ReplaceAllString(part[3], "…")
		from := r.URL.Query().Get("from")
		switch {
		case part[2] == "blobs" && from != "":
			line = fmt.Sprintf("MOUNT %s/%s blobs from %s", host, part[1], from)
		case part[2] == "blobs" && strings.HasPrefix(part[3], "uploads/"):
			line = fmt.Sprintf("SEND %s/%s blobs", host, part[1])
		default:
			line = fmt.Sprintf("%s %s/%s %s", r.Method, host, part[1], what)
		}
	}
	if user != "" {
		line += " as " + user
	}
	if r.TLS == nil {
		line += " (plain HTTP)"
	}
	n.note(line)
}

func (n *internet) note(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, line)
}

const prefixHeader = "X-Prefix"

// toRegistry adds a prefix to a host's repositories, so that hosts do not share them in the registry.
func (n *internet) toRegistry(r *httputil.ProxyRequest) {
	n.mu.Lock()
	own := n.now + "/" + hostOf(r.In) + "/"
	n.mu.Unlock()
	prefix := "/v2/" + strings.ReplaceAll(own, ":", "-")
	r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", inside, inside
	r.Out.URL.Path = strings.Replace(r.In.URL.Path, "/v2/", prefix, 1)
	query := r.Out.URL.Query()
	if from := query.Get("from"); from != "" {
		query.Set("from", strings.ReplaceAll(own, ":", "-")+from)
		r.Out.URL.RawQuery = query.Encode()
	}
	r.Out.Header.Del("Authorization")
	r.Out.Header.Set(prefixHeader, prefix)
}

func hostOf(r *http.Request) string {
	host := strings.TrimSuffix(strings.TrimSuffix(r.Host, ":443"), ":80")
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		return dockerHub
	}
	return host
}

// put pushes a random image to a registry of the example.
func (n *internet) put(t *testing.T, image string) {
	t.Helper()
	ref, err := name.NewTag(inside+"/"+n.now+"/"+image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: "amd64", OS: "linux", Author: image})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithTransport(n.direct)); err != nil {
		t.Fatal(err)
	}
}

// has lists the images in the example's registries, with their tags. An image of several platforms also
// has its platforms.
func (n *internet) has(t *testing.T) (lines []string) {
	t.Helper()
	host, err := name.NewRegistry(inside, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	all, err := remote.Catalog(t.Context(), host, remote.WithTransport(n.direct))
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		image, ours := strings.CutPrefix(one, n.now+"/")
		if !ours {
			continue
		}
		tags, err := remote.List(host.Repo(one), remote.WithTransport(n.direct))
		if err != nil {
			continue // the registry has no image of this example
		}
		at := map[string][]string{}
		for _, tag := range tags {
			desc, err := remote.Get(host.Repo(one).Tag(tag), remote.WithTransport(n.direct))
			if err != nil {
				t.Fatal(err)
			}
			what := platformsOf(t, desc)
			at[desc.Digest.String()+what] = append(at[desc.Digest.String()+what], tag)
		}
		for digest, tags := range at {
			lines = append(
				lines,
				image+": "+hashes.ReplaceAllString(strings.Join(tags, ", "), "…")+digest[len("sha256:")+64:],
			)
		}
	}
	slices.Sort(lines)
	return lines
}

func platformsOf(t *testing.T, desc *remote.Descriptor) (text string) {
	t.Helper()
	if !desc.MediaType.IsIndex() {
		return ""
	}
	index, err := desc.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		if m.Platform == nil {
			return " (a cache)"
		}
		text += " " + m.Platform.String()
	}
	return " for" + text
}

// tunnel responds to CONNECT for every host with a connection to one server.
func tunnel(w http.ResponseWriter, address string) {
	to, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		_ = to.Close()
		return
	}
	_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
	go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
}

// authority returns a function that issues a certificate for each requested host. It writes the
// authority's certificate to a file.
func authority(t *testing.T, file string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "examples"},
		NotBefore:             from,
		NotAfter:              until,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2),
			DNSNames:     []string{hello.ServerName},
			NotBefore:    from,
			NotAfter:     until,
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}
}

// startRegistry runs Debian's registry, CNCF's distribution, on a socket until the test ends.
// https://distribution.github.io/distribution/about/configuration/
func startRegistry(t *testing.T) (socket string) {
	t.Helper()
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("SKIPPED: needs a registry, which is absent (Debian: apt-get install docker-registry)")
	}
	dir := openDir(t)
	socket = filepath.Join(dir, "registry.sock")
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {inmemory: {}}\n" +
		"http: {net: unix, addr: " + socket + ", secret: examples, relativeurls: true}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	var log strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "listening on") {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return socket
		}
	}
	t.Fatalf("registry: got no start in time, want one; log:\n%s", log.String())
	return ""
}
