package registryproxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// go-containerregistry's transport sends the used-up body again here, and loses the upload.
func TestUploadsSurviveATokenThatEnds(t *testing.T) {
	for _, length := range []bool{true, false} {
		s := newTokenServer(t, `{"token":"t%d","expires_in":300}`, 5*time.Minute)
		e := newTokenEnv(t, s, "x")
		started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
		path := e.path(started.header.Get("Location"))
		var blob strings.Builder
		for i := range 3 {
			e.advance(5 * time.Minute) // the token has ended
			part := fmt.Sprintf("part %d", i)
			body := io.Reader(strings.NewReader(part))
			if !length {
				body = struct{ io.Reader }{body}
			}
			part = fmt.Sprintf("%d-%d", blob.Len(), blob.Len()+len(part)-1)
			wantStatus(t, part, e.send(e.request("PATCH", path, body, "Content-Range", part)), 202)
			fmt.Fprintf(&blob, "part %d", i)
		}
		e.advance(5 * time.Minute)
		wantStatus(t, "PUT", e.do("PUT", path+"?digest="+digest(blob.String()), ""), 201)
		if got := e.do("GET", "/v2/acme/app/blobs/"+digest(blob.String()), ""); got.body != blob.String() {
			t.Errorf("blob: got %q, want %q", got.body, blob.String())
		}
		if got := s.count(); got != 5 {
			t.Errorf("got %d token requests, want 5", got)
		}
	}
}

// A token may also expire before the time in its server's response. The registry refuses it before it
// reads the body, so that the body can still be sent.
func TestUploadsSurviveATokenThatEndsEarly(t *testing.T) {
	for _, length := range []bool{true, false} {
		s := newTokenServer(t, `{"token":"t%d","expires_in":3600}`, 5*time.Minute)
		e := newTokenEnv(t, s, "x")
		started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
		path := e.path(started.header.Get("Location"))
		e.advance(10 * time.Minute)
		blob := strings.Repeat("0123456789", 20_000)
		body := io.Reader(strings.NewReader(blob))
		if !length {
			body = struct{ io.Reader }{body}
		}
		wantStatus(t, "PATCH", e.send(e.request("PATCH", path, body)), 202)
		wantStatus(t, "PUT", e.do("PUT", path+"?digest="+digest(blob), ""), 201)
		if got := e.do("GET", "/v2/acme/app/blobs/"+digest(blob), ""); got.body != blob {
			t.Errorf("blob: got %d bytes, want %d", len(got.body), len(blob))
		}
	}
}

// If the registry read the body first, the client must send it again: 503, never a success.
func TestBodyThatCannotBeSentAgain(t *testing.T) {
	s := newTokenServer(t, `{"token":"t%d","expires_in":3600}`, 5*time.Minute)
	e := newTokenEnv(t, s, "x")
	started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
	path := e.path(started.header.Get("Location"))
	e.advance(10 * time.Minute)
	judge := e.auth
	e.auth = func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		return judge(w, r)
	}
	wantStatus(t, "PATCH", e.do("PATCH", path, "hello"), 503)
	e.auth = judge
	wantStatus(t, "PATCH again", e.do("PATCH", path, "hello"), 202)
	wantStatus(t, "PUT", e.do("PUT", path+"?digest="+digest("hello"), ""), 201)
}

func TestRequestsAfterTheEnd(t *testing.T) {
	e := newEnv(t)
	e.end()
	for _, uri := range []string{"/v2/", "/v2/acme/app/manifests/latest"} {
		got := e.do("GET", uri, "")
		if wantStatus(t, uri, got, 403); !strings.Contains(got.body, "the attempt has ended") {
			t.Errorf(`%s: got %q, want "the attempt has ended" in it`, uri, got.body)
		}
	}
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
}

// The attempt's end cuts transfers in both directions, also those of a client that stopped reading
// or sending.
func TestEndCutsRunningTransfers(t *testing.T) {
	for name, request := range map[string]string{
		"a client that stopped reading": "GET /v2/acme/app/blobs/" + digest("x") + " HTTP/1.1\r\nHost: x\r\n" +
			authorization + "\r\n",
		"a client that stopped sending": "POST /v2/acme/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n" + authorization +
			"Content-Length: 1000\r\n\r\nabc",
		"a manifest that stopped": "PUT /v2/acme/app/manifests/latest HTTP/1.1\r\nHost: x\r\n" + authorization +
			"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			ignored := goleak.IgnoreCurrent()
			e := newEnv(t)
			begun, ended := make(chan struct{}), make(chan struct{})
			e.serve = func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				close(begun)
				if r.Method == "POST" {
					_, _ = io.Copy(io.Discard, r.Body)
					return
				}
				block := make([]byte, 64<<10)
				for {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			}
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", hostOf(e.server))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(request, "PUT") {
				close(ended) // the registry gets no request before the manifest is complete
				if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil {
					t.Fatal(err)
				}
			} else {
				await(t, begun, "the request at the registry")
			}
			e.end()
			await(t, ended, "the end of the request at the registry")
			_, _ = io.Copy(io.Discard, conn) // returns when the proxy closes the connection
			conn.Close()
			e.server.Close()
			e.registry.CloseClientConnections()
			e.registry.Close()
			goleak.VerifyNone(t, ignored)
		})
	}
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: got nothing in 20 s, want it", what)
	}
}
