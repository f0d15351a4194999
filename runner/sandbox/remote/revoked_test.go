package remote

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/config/identity"
)

// A revokedEnv is an authority with a server and two clients, and a file of revoked certificates.
type revokedEnv struct {
	server      *tls.Config
	first, next identity.Identity
	file        string
}

func newRevokedEnv(t *testing.T) *revokedEnv {
	t.Helper()
	until := time.Now().Add(time.Hour)
	a, err := openAuthority(t.TempDir(), until)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(s subject) identity.Identity {
		s.until = until
		text, err := a.issue(s)
		if err != nil {
			t.Fatal(err)
		}
		id, err := identity.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	e := &revokedEnv{
		first: issue(subject{name: "first"}),
		next:  issue(subject{name: "next"}),
		file:  filepath.Join(t.TempDir(), "revoked"),
	}
	e.server = issue(subject{name: "server", hosts: []string{"builder.example.com"}}).Server()
	refuseRevoked(e.server, e.file)
	return e
}

func (e *revokedEnv) revoke(t *testing.T, lines ...string) {
	t.Helper()
	if err := os.WriteFile(e.file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// handshake returns the server's error for a client. Sessions in cache are resumed.
func (e *revokedEnv) handshake(t *testing.T, login identity.Identity, cache tls.ClientSessionCache) error {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		config := login.Client()
		config.ServerName, config.ClientSessionCache = "builder.example.com", cache
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return // the server reports the reason
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1)) // receives the session ticket; returns when the server closes
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return tls.Server(conn, e.server).HandshakeContext(t.Context())
}

// A8: a client is rejected once its certificate is revoked. Other clients are not affected.
func TestA8RevokedClientsAreRefused(t *testing.T) {
	e := newRevokedEnv(t)
	e.revoke(t, "# none yet")
	for _, id := range []identity.Identity{e.first, e.next} {
		if err := e.handshake(t, id, nil); err != nil {
			t.Errorf("without revoked certificates: got error %v, want nil", err)
		}
	}
	colons := strings.ToUpper(e.first.Fingerprint()[:2]) + ":" + e.first.Fingerprint()[2:]
	for name, line := range map[string]string{"keys' form": e.first.Fingerprint(), "openssl's form": "sha256 Fingerprint=" + colons} {
		e.revoke(t, "", "# left the company", line)
		if err := e.handshake(t, e.first, nil); !errors.Is(err, errRevoked) {
			t.Errorf("%s: got %v, want errRevoked", name, err)
		}
		if err := e.handshake(t, e.next, nil); err != nil {
			t.Errorf("%s: another client: got error %v, want nil", name, err)
		}
	}
}

func TestA8ARevokedClientCannotResumeASession(t *testing.T) {
	e := newRevokedEnv(t)
	e.revoke(t)
	cache := tls.NewLRUClientSessionCache(1)
	if err := e.handshake(t, e.first, cache); err != nil {
		t.Fatal(err)
	}
	e.revoke(t, e.first.Fingerprint())
	if err := e.handshake(t, e.first, cache); !errors.Is(err, errRevoked) {
		t.Errorf("revoked certificate: got error %v, want %v", err, errRevoked)
	}
}

// If the file cannot be read, all clients are rejected.
func TestInvalidRevokedFilesAreRejected(t *testing.T) {
	e := newRevokedEnv(t)
	if err := e.handshake(t, e.first, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want ErrNotExist", err)
	}
	for line, want := range map[string]string{
		"abcd":                            "line 1 is not a SHA-256 fingerprint",
		strings.Repeat("g", 64):           "line 1 is not a SHA-256 fingerprint",
		strings.Repeat("#", maxRevoked+1): "more than",
	} {
		e.revoke(t, line)
		if err := e.handshake(t, e.first, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: got %v, want %q", line, err, want)
		}
	}
}
