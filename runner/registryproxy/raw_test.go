package registryproxy_test

import (
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
)

// authorization is the header line of a client with the attempt's token.
var authorization = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("build:"+attemptToken)) + "\r\n"

// rawRequest sends bytes and returns all that comes back.
func rawRequest(t *testing.T, e *env, text string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", hostOf(e.server))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// A request with two framings can hide (smuggle) a second request.
func TestAmbiguousFramingIsRefused(t *testing.T) {
	e := newEnv(t)
	head := "POST /v2/acme/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n" + authorization
	for name, rest := range map[string]string{
		"two lengths":              "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a space before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"an unknown encoding":      "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	} {
		got := rawRequest(t, e, head+rest)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") && !strings.HasPrefix(got, "HTTP/1.1 501 ") {
			t.Errorf("%s: got %q, want it refused", name, got)
		}
	}
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
}

// With both framings Go goes by the chunks alone; the rest is the next request, judged by itself.
func TestBothFramings(t *testing.T) {
	e := newEnv(t)
	got := rawRequest(t, e, "POST /v2/acme/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n"+authorization+
		"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+
		"GET /v2/other/private/tags/list HTTP/1.1\r\nHost: x\r\n"+authorization+"Connection: close\r\n\r\n")
	if got, want := strings.Count(got, "HTTP/1.1 202 "), 1; got != want {
		t.Errorf("first request: got %d accepted, want %d", got, want)
	}
	if contains(e.uris(), "other/private") {
		t.Errorf("requests to the registry: got %q, want none of other/private", e.uris())
	}
	if e.last().header.Get("Content-Length") == "60" {
		t.Error("Content-Length to the registry: got the second one, want the first")
	}
}
