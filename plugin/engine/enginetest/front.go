package enginetest

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
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"slipway/plugin/demo/localenv"
)

// A Front serves an environment's Bitbucket as https://bitbucket.org and https://api.bitbucket.org. It is
// for programs whose Bitbucket addresses cannot be configured. It is their HTTPS proxy, with its
// own certificate authority.
type Front struct {
	Proxy     string // URL, for HTTPS_PROXY
	Authority string // file of the authority's certificate, for SSL_CERT_FILE

	pool *x509.CertPool
}

// hosts returns the names that the front serves.
func hosts() []string { return []string{"bitbucket.org", "api.bitbucket.org"} }

// NewFront starts a Front, which ends with the environment.
func NewFront(ctx context.Context, w *localenv.Env) (*Front, error) {
	certificate, authority, err := certify()
	if err != nil {
		return nil, err
	}
	f := &Front{Authority: filepath.Join(w.Dir, "authority.pem"), pool: x509.NewCertPool()}
	f.pool.AppendCertsFromPEM(authority)
	if err := os.WriteFile(f.Authority, authority, 0o600); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.Proxy = "http://" + listener.Addr().String()
	inner := &tunnels{accepted: make(chan net.Conn), closed: make(chan struct{}), addr: listener.Addr()}
	server := &http.Server{Handler: w.Bitbucket, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(inner) }() // ends when the environment closes
	go f.accept(listener, inner, certificate)
	w.OnClose(func() {
		_ = listener.Close()
		_ = server.Close()
		_ = inner.Close()
	})
	return f, nil
}

// Client returns a user's browser behind the front.
func (f *Front) Client(jar http.CookieJar) *http.Client {
	proxy := func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme == "https" {
			return url.Parse(f.Proxy)
		}
		return nil, nil //nolint:nilnil // net/http's word for no proxy
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{
		Proxy: proxy, TLSClientConfig: &tls.Config{RootCAs: f.pool, MinVersion: tls.VersionTLS12},
	}}
}

func (f *Front) accept(l net.Listener, inner *tunnels, certificate tls.Certificate) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := tunnel(conn, inner, certificate); err != nil {
				_, _ = io.WriteString(
					conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
				) // the client may have closed the connection
				_ = conn.Close()
			}
		}()
	}
}

func tunnel(conn net.Conn, inner *tunnels, certificate tls.Certificate) error {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || port != "443" || (host != hosts()[0] && host != hosts()[1]) {
		return fmt.Errorf("%s %s is not Bitbucket", r.Method, r.Host)
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return err
	}
	return inner.offer(
		tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}),
	)
}

// certify creates an authority and a certificate for both hosts, valid for an hour.
func certify() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	from, until := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(
			1,
		), Subject: pkix.Name{CommonName: "Slipway's tests"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(
			2,
		), Subject: pkix.Name{CommonName: hosts()[0]}, DNSNames: hosts(), NotBefore: from, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{
			Certificate: [][]byte{leaf},
			PrivateKey:  key,
		}, pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE", Bytes: root},
		), nil
}

// tunnels is a net.Listener for the connections that arrive through the proxy.
type tunnels struct {
	accepted chan net.Conn
	closed   chan struct{}
	addr     net.Addr
}

var errClosed = errors.New("the front is closed")

func (t *tunnels) offer(c net.Conn) error {
	select {
	case t.accepted <- c:
		return nil
	case <-t.closed:
		return errClosed
	}
}

func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.accepted:
		return c, nil
	case <-t.closed:
		return nil, errClosed
	}
}

func (t *tunnels) Close() error {
	select {
	case <-t.closed:
	default:
		close(t.closed)
	}
	return nil
}

func (t *tunnels) Addr() net.Addr { return t.addr }
