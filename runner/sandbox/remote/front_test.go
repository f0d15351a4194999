package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/identity"
)

// A frontEnv is a Front whose builders answer with their domain, and then echo.
type frontEnv struct {
	address   string
	authority authority
	stop      func() error
}

func newFrontEnv(t *testing.T) *frontEnv {
	t.Helper()
	a, err := openAuthority(t.TempDir(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	e := &frontEnv{authority: a}
	front := Front{
		Identity: e.issue(t, subject{name: "server", hosts: []string{"builder.example.com"}}),
		Dial:     dialEcho,
		Log:      discard.Logger(),
	}
	listener, err := front.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- front.Serve(ctx, listener) }()
	e.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = e.stop() })
	return e
}

// dialEcho returns a connection that sends the name of the domain and a line break, and then all that it
// receives.
func dialEcho(_ context.Context, domain string) (net.Conn, error) {
	if domain == "missing" {
		return nil, errors.New("no builder starts")
	}
	client, builder := net.Pipe()
	go func() {
		defer builder.Close()
		_, _ = io.WriteString(builder, domain+"\n")
		_, _ = io.Copy(builder, builder)
	}()
	return client, nil
}

func (e *frontEnv) issue(t *testing.T, s subject) identity.Identity {
	t.Helper()
	s.until = time.Now().Add(time.Hour)
	text, err := e.authority.issue(s)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// dial connects and returns all that the builder sends after the client has sent a text.
func (e *frontEnv) dial(t *testing.T, id identity.Identity, text string) (string, error) {
	t.Helper()
	config := id.Client()
	config.ServerName = "builder.example.com"
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", e.address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := io.CopyN(&got, conn, 1); err != nil { // the client's certificate is checked after its dial
		return "", err
	}
	go func() { _, _ = io.WriteString(conn, text) }()
	for !strings.HasSuffix(got.String(), "\n"+text) {
		if _, err := io.CopyN(&got, conn, 1); err != nil {
			return got.String(), err
		}
	}
	return got.String(), nil
}

func TestTheCertificateDecidesTheDomain(t *testing.T) {
	e := newFrontEnv(t)
	for domain, want := range map[string]string{"": "default", "acme": "acme", "b.c-d_1": "b.c-d_1"} {
		got, err := e.dial(t, e.issue(t, subject{name: "client", domain: domain}), "hello")
		if err != nil {
			t.Errorf("domain %q: got error %v, want none", domain, err)
		}
		if got != want+"\nhello" {
			t.Errorf("domain %q: got %q, want the builder of %s", domain, got, want)
		}
	}
}

func TestClientsWithoutABuilderAreDisconnected(t *testing.T) {
	e := newFrontEnv(t)
	if got, err := e.dial(t, e.issue(t, subject{name: "client", domain: "missing"}), ""); err == nil {
		t.Errorf("got %q, want an error", got)
	}
	if got, err := e.dial(t, e.issue(t, subject{name: "next"}), "x"); err != nil {
		t.Errorf("the next client: got %q and %v, want no error", got, err)
	}
}

func TestServeEndsItsConnections(t *testing.T) {
	e := newFrontEnv(t)
	config := e.issue(t, subject{name: "client"}).Client()
	config.ServerName = "builder.example.com"
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.CopyN(io.Discard, conn, int64(len("default\n"))); err != nil {
		t.Fatal(err)
	}
	if err := e.stop(); err != nil {
		t.Errorf("Serve: got %v, want none", err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("open connection: got %v, want its end", err)
	}
}

func TestListenNeedsCertificates(t *testing.T) {
	_, err := Front{}.Listen(t.Context(), "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "slipway builder keys") {
		t.Errorf("without a certificate: got %v, want an error with the command", err)
	}
	e := newFrontEnv(t)
	f := Front{
		Identity: e.issue(t, subject{name: "server", hosts: []string{"h"}}),
		Revoked:  filepath.Join(t.TempDir(), "no"),
	}
	if _, err := f.Listen(t.Context(), "127.0.0.1:0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file of revoked certificates: got %v, want ErrNotExist", err)
	}
}
