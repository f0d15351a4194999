package registry_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"slipway/runner/registry"
)

var tags = []string{"1.2", "1", "latest"}

// A push uploads an image to a registry that has an older one under latest.
type push struct {
	*env
	t           *testing.T
	image       v1.Image
	older, that string // digests
}

func newPush(t *testing.T) *push {
	p := &push{env: serve(t), t: t}
	p.older = p.put(t)
	p.must(
		client(
			registry.Options{},
		).Tag(t.Context(), p.env.image(), registry.Manifest{Digest: p.older}, "latest", registry.Login{}),
	)
	var err error
	p.image, err = random.Image(2048, 2)
	p.must(err)
	digest, err := p.image.Digest()
	p.must(err)
	p.that = digest.String()
	return p
}

func (p *push) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// run uploads and moves the tags, as the runner does: a failed tag does not stop the others.
func (p *push) run(o registry.Options) error {
	c := client(o)
	if err := c.Upload(p.t.Context(), p.env.image(), p.that, p.image, registry.Login{}); err != nil {
		return err
	}
	var failed error
	for _, tag := range tags {
		failed = errors.Join(
			failed,
			c.Tag(p.t.Context(), p.env.image(), registry.Manifest{Digest: p.that}, tag, registry.Login{}),
		)
	}
	return failed
}

// check reads the images of the tags, blob by blob. Only latest may be at the older image.
func (p *push) check(ended error) {
	p.t.Helper()
	p.set(nil)
	for _, tag := range tags {
		ref, err := name.NewTag(p.env.image() + ":" + tag)
		p.must(err)
		img, err := remote.Image(ref)
		if err != nil && ended != nil && tag != "latest" {
			continue
		}
		p.must(err)
		if err := validate.Image(img); err != nil {
			p.t.Errorf("%s points at an incomplete image: %v", tag, err)
		}
		digest, err := img.Digest()
		p.must(err)
		if is := digest.String(); is != p.that && (ended == nil || is != p.older || tag != "latest") {
			p.t.Errorf("digest of tag %s: got %s after error %v, want %s", tag, is, ended, p.that)
		}
	}
}

// from injects a fault into a number of requests, from the nth on.
func (p *push) from(n, times int, fault http.HandlerFunc) {
	seen := 0
	p.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		p.mu.Lock()
		seen++
		meets := seen > n && seen <= n+times
		p.mu.Unlock()
		if meets {
			fault(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// reset closes the connection after half a body.
func reset(w http.ResponseWriter, r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, max(r.ContentLength/2, 1)) // the half that was sent
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // RST in place of FIN
	}
	_ = connection.Close()
}

// F16: at any request of a push the registry may fail, once or for good. No tag ever points at an
// incomplete image, and the next attempt pushes everything.
func TestF16WhereverAPushBreaksEveryTagIsWhole(t *testing.T) {
	clean := newPush(t)
	clean.set(nil)
	clean.must(clean.run(registry.Options{}))
	requests := len(clean.seen())
	clean.check(nil)
	if requests < 10 {
		t.Fatalf("requests of a whole push: got %d, want 10 or more", requests)
	}
	for what, tt := range map[string]struct {
		fault   http.HandlerFunc
		retried bool // within the push
	}{
		"500": {status(http.StatusInternalServerError), true}, "unavailable": {status(http.StatusServiceUnavailable), true},
		"too many": {status(http.StatusTooManyRequests), true}, "reset": {reset, true},
		"401": {status(http.StatusUnauthorized), false},
	} {
		for _, times := range []int{1, 1 << 30} {
			for n := range requests {
				if n%5 != len(what)%5 && os.Getenv("SLIPWAY_TRUST") != "1" {
					continue // each at some of the requests; all at all of them takes half a minute
				}
				t.Run(fmt.Sprintf("%s at request %d, %d times", what, n+1, times), func(t *testing.T) {
					p := newPush(t)
					p.from(n, times, tt.fault)
					ended := p.run(registry.Options{Attempts: 3})
					if tt.retried && times == 1 && ended != nil {
						t.Errorf("push with a single fault: got error %v, want nil", ended)
					}
					if times > 1 && ended == nil {
						t.Error("push without the registry: got no error, want one")
					}
					p.check(ended)
					p.must(p.run(registry.Options{}))
					p.check(nil)
				})
			}
		}
	}
}
