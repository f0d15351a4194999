package step_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"slipway/runner/registry"
)

// A refusal is an answer of a registry, with its own words.
type refusal struct {
	status int
	body   string
	words  string // the part of the body that the error must have
}

func refuse(status int, code, message string) refusal {
	body := fmt.Sprintf(`{"errors":[{"code":%q,"message":%q,"detail":{}}]}`, code, message)
	return refusal{status: status, body: body, words: message}
}

func denied401() refusal { return refuse(401, "UNAUTHORIZED", "authentication required by acme") }

func denied403() refusal { return refuse(403, "DENIED", "requested access to the resource is denied") }

// serve answers every request that matches with the refusal, and serves a registry otherwise.
func (f refusal) serve(t *testing.T, matches func(*http.Request) bool) (host string) {
	t.Helper()
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !matches(r) {
			inner.ServeHTTP(w, r)
			return
		}
		if f.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="acme"`)
		}
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// always matches the requests for images.
func always(r *http.Request) bool { return r.URL.Path != "/v2/" }

// writes matches the requests that write.
func writes(r *http.Request) bool {
	return always(r) && r.Method != http.MethodGet && r.Method != http.MethodHead
}

// sends matches the requests that send a blob.
func sends(r *http.Request) bool {
	return writes(r) && strings.Contains(r.URL.Path, "/blobs/uploads/") && r.ContentLength != 0
}

// putsOCI matches the requests that put a manifest of OCI.
func putsOCI(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.Header.Get("Content-Type"), "oci")
}

// failure returns the refusal of all requests of a use.
func (f refusal) failure(cells map[use]cell) failure {
	return failure{words: f.words, cells: cells, host: func(t *testing.T, u use) string {
		t.Helper()
		switch u {
		case basePull:
			return f.serve(t, always)
		case login:
			return f.serve(t, func(*http.Request) bool { return true })
		}
		return f.serve(t, writes)
	}}
}

// at returns a failure whose host is the same for all uses.
func at(host, words string, cells map[use]cell) failure {
	return failure{words: words, cells: cells, host: func(*testing.T, use) string { return host }}
}

// everywhere returns the cells of a failure whose fix names the place that the host comes from.
func everywhere(texts ...string) map[use]cell {
	all := map[use]cell{}
	for u, place := range map[use]string{basePull: ofBase, push: ofPush, cacheWrite: ofCache, login: ofLogin} {
		for _, text := range texts {
			c := all[u]
			c.wants = append(c.wants, strings.ReplaceAll(text, "{place}", place))
			all[u] = c
		}
	}
	return all
}

// failuresOfRegistries returns each failure by its name. certs is the directory of the builder's certificates.
func failuresOfRegistries(t *testing.T, certs string) map[string]failure {
	t.Helper()
	noLogin := map[use]cell{
		basePull:   wants("no setting has a login for {host}", "set PLUGIN_LOGINS"),
		push:       wants("PLUGIN_USERNAME and PLUGIN_PASSWORD are not set, and the registry requires a login"),
		cacheWrite: wants(ofCache, "check PLUGIN_LOGINS: user name, password, and permissions at {host}"),
		login:      wants(ofLogin, "check user name and password"),
	}
	oci := refuse(400, "MANIFEST_INVALID", "manifest invalid")
	const page = "<html>\n<center><h1>413 Request Entity Too Large</h1></center>\n</html>"
	tls := foreignTLS(t, certs)
	closed := "127.0.0.1:1"
	return map[string]failure{
		"401": denied401().failure(noLogin),
		"403": denied403().failure(noLogin),
		"404": refuse(
			404,
			"NAME_UNKNOWN",
			"The repository with name 'app' does not exist in the registry",
		).failure(map[use]cell{
			basePull:   wants("correct " + ofBase),
			push:       wants("create the repository at {host}, or correct " + ofPush),
			cacheWrite: wants("create the repository at {host}, or correct " + ofCache),
			login:      wants("does not answer as a registry does (/v2/): correct " + ofLogin),
		}),
		"413": refusal{413, page, "413 Request Entity Too Large"}.whileSending(
			everywhere("client_max_body_size", "if it is the wrong registry, correct {place}")),
		"429": refuse(429, "TOOMANYREQUESTS", "You have reached your rate limit").failure(map[use]cell{
			basePull:   wants("limits requests: wait, or set a login (PLUGIN_LOGINS)"),
			push:       wants("limits requests: wait, or set a login (PLUGIN_LOGINS)", ofPush),
			cacheWrite: wants("limits requests: wait, or set a login (PLUGIN_LOGINS)", ofCache),
			login:      wants("limits requests: wait, or set a login (PLUGIN_LOGINS", ofLogin),
		}),
		"5xx": refusal{503, "<html>\n<body>upstream is down</body>\n</html>", "503 Service Unavailable"}.failure(
			everywhere("check its log or status page", "correct {place}")),
		"TLS": at(tls, "x509", everywhere(registry.CertsDir+"/{host}/ca.crt", "or set PLUGIN_INSECURE to {host}")),
		// No name server is asked for a name with a part of more than 63 letters.
		"DNS": at(strings.Repeat("a", 64)+".example", "no such host",
			everywhere("check the host name in {place}, and the name servers")),
		"refused": at(
			closed,
			"connection refused",
			everywhere("check host and port in {place}, and that the registry"),
		),
		"time-out": {words: "i/o timeout", err: timedOut(),
			cells: everywhere("check the host in {place}", "the firewall on the way to {host}", "HTTPS_PROXY")},
		"no route": {words: "no route to host", err: syscall.EHOSTUNREACH,
			cells: everywhere("check the host in {place}", "the firewall on the way to {host}", "HTTPS_PROXY")},
		"reset": {
			words: "connection reset by peer", err: syscall.ECONNRESET,
			cells: everywhere("check the host in {place}", "the firewall on the way to {host}", "HTTPS_PROXY"),
		},
		"OCI refused": {words: oci.words, cells: map[use]cell{
			basePull:   {absent: "a pull sends no manifest"},
			push:       wants("may not know manifests of OCI", "set auto_label (PLUGIN_AUTO_LABEL) to false"),
			cacheWrite: wants("may not know manifests of OCI", "set oci-mediatypes=false in "+ofCache),
			login:      {absent: "a login sends no manifest"},
		}, host: func(t *testing.T, _ use) string { t.Helper(); return oci.serve(t, putsOCI) }},
	}
}

// whileSending returns the refusal of the requests that send content, as a proxy with a limit does.
func (f refusal) whileSending(cells map[use]cell) failure {
	whole := f.failure(cells)
	return failure{words: f.words, cells: cells, host: func(t *testing.T, u use) string {
		t.Helper()
		if u == push || u == cacheWrite {
			return f.serve(t, sends)
		}
		return whole.host(t, u)
	}}
}

// foreignTLS starts a registry with a certificate that no trusted authority has signed, and returns its host.
// certs gets another authority for it, so that BuildKit uses TLS on a loopback address.
func foreignTLS(t *testing.T, certs string) (host string) {
	t.Helper()
	server := httptest.NewUnstartedServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "https://")
	dir := filepath.Join(certs, host)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), foreignAuthority(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return host
}

// foreignAuthority returns the certificate of an authority that has signed nothing.
func foreignAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}
