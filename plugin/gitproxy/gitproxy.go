// Package gitproxy serves git fetches to runners, so that the linked account's token stays in the
// gateway. It forwards read-only smart HTTP for exactly one repository, that of the build, and
// authorizes each request by the token of the build's attempt:
//
//	GET  /git/{build}/info/refs?service=git-upload-pack
//	POST /git/{build}/git-upload-pack
//	POST /git/{build}/info/lfs/objects/batch     downloads only
//	GET  /git/{build}/lfs/{object}               an object that a batch answer named
//
// Nothing of a request becomes part of the upstream address. A request ends with its attempt, even
// in the middle of a stream.
//
// Sources: https://git-scm.com/docs/http-protocol,
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
package gitproxy

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"slipway/config/netpolicy"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// The bounds of the proxy. Transfers hold a place while they run; the rest of a gateway's
// connections stay free for webhooks and pages, whatever number of clones there is.
const (
	maxTransfers  = 64               // at once, in all
	maxWaiting    = 128              // requests that wait for a place
	maxPerAttempt = 12               // requests of one attempt at once; git-lfs downloads 8 objects at a time
	maxBatches    = 4                // LFS batches that are decoded at once
	waitTime      = 30 * time.Second // for a place
	idleTime      = 2 * time.Minute  // without one byte read or written by the client
	answerTime    = 2 * time.Minute  // until the upstream's answer begins
	checkInterval = time.Second      // between two looks whether a running request's attempt is still active
	maxRequest    = 32 << 20         // bytes of a negotiation, as sent
)

// A Store knows attempts and builds; *store.Store. It is safe for concurrent use.
type Store interface {
	// AttemptByToken returns the attempt of a build that a token's hash belongs to.
	// ErrUnauthorized = there is none; ErrFenced, with the attempt = it is over.
	AttemptByToken(ctx context.Context, buildID, tokenHash string) (autobuild.Attempt, error)
	// Build returns a build by id, with its repository's current name. ErrNotFound = there is none.
	Build(ctx context.Context, id string) (autobuild.Build, error)
	// AutomatedBuild returns an automated build by id. ErrNotFound = there is none.
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	// RenameRepository stores a repository's new name. ErrNotFound = the repository is not known.
	RenameRepository(ctx context.Context, r autobuild.Repository) error
}

// Options make a Proxy. Store, Connector, BaseURL and Log are required.
type Options struct {
	Store     Store
	Connector autobuild.Connector
	// BaseURL returns the address by which the runners of an engine reach the gateway, without a
	// trailing slash. LFS answers name it.
	BaseURL func(engine string) string
	// Policy decides which hosts LFS objects may come from: a batch answer and redirects name them.
	Policy netpolicy.Policy
	Log    logrus.FieldLogger

	Transfers int           // at once; default 64
	Wait      time.Duration // for a place; default 30 s
	Idle      time.Duration // until a client that neither reads nor writes is cut off; default 2 min
	Check     time.Duration // between two looks at a running request's attempt; default 1 s
}

// A Proxy is the handler. It is safe for concurrent use.
type Proxy struct {
	o        Options
	upstream http.RoundTripper // to the provider's git
	objects  http.RoundTripper // to the hosts of LFS objects
	renames  *rate.Limiter     // of questions for a repository's name: they cost the API's budget
	buffers  bufferPool
	places   chan struct{}
	batches  chan struct{}
	waiting  atomic.Int32
	quiet    *log.Logger

	mu       sync.Mutex
	sessions map[key]*session
	held     int // bytes of LFS addresses and headers in all sessions
}

// New makes a Proxy. Close ends it.
func New(o Options) *Proxy {
	if o.Transfers == 0 {
		o.Transfers = maxTransfers
	}
	if o.Wait == 0 {
		o.Wait = waitTime
	}
	if o.Idle == 0 {
		o.Idle = idleTime
	}
	if o.Check == 0 {
		o.Check = checkInterval
	}
	objects := newTransport(o.Transfers)
	objects.DialContext = o.Policy.DialContext
	return &Proxy{
		o: o, upstream: newTransport(o.Transfers), objects: objects,
		renames: rate.NewLimiter(rate.Every(time.Minute), 10),
		buffers: bufferPool{sync.Pool{New: func() any { return new([bufferSize]byte) }}},
		places:  make(chan struct{}, o.Transfers), batches: make(chan struct{}, maxBatches),
		quiet: log.New(io.Discard, "", 0), sessions: map[key]*session{},
	}
}

// newTransport returns a transport that passes bytes on as they are. HTTP/2 would share one
// flow-control window between fetches, so that a slow client slows the others down.
func newTransport(connections int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: nil, DisableCompression: true, Protocols: protocols,
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: answerTime, MaxResponseHeaderBytes: 64 << 10,
	}
}

// Close ends all requests.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		s.end(errClosed)
	}
}

// Serve answers one request below /git/. It either writes the whole answer or returns a *Refusal
// and has written nothing. It panics with http.ErrAbortHandler if the answer breaks off.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request) error {
	call, ok := route(r)
	if !ok {
		return refuse(http.StatusForbidden, "only git fetch of the build's own repository is served here", nil)
	}
	attempt, s, err := p.enter(r, call.build)
	if err != nil {
		return err
	}
	defer p.leave(s)
	ctx, cancel := context.WithCancelCause(logctx.Attempt(r.Context(), attempt))
	defer cancel(nil)
	limits := newDeadlines(w, p.o.Idle)
	defer limits.finish()
	defer onEnd(s.ctx, func() {
		cancel(context.Cause(s.ctx))
		limits.end() // a context does not end a Write to a client that stopped reading
	})()
	if err := p.takePlace(ctx); err != nil {
		return err
	}
	defer func() { <-p.places }()
	r = r.WithContext(ctx)
	r.Body = limits.reader(http.MaxBytesReader(w, r.Body, maxRequest))
	upstream, err := p.repositoryOf(ctx, attempt.BuildID)
	if err != nil {
		return err
	}
	switch call.kind {
	case lfsBatch:
		return p.batch(limits.writer(w), r, s, upstream, p.o.BaseURL(attempt.Engine)+pathPrefix+call.build)
	case lfsObject:
		return p.object(limits.writer(w), r, s, upstream, call.object)
	default:
		return p.forward(limits.writer(w), r, upstream, call.kind)
	}
}

const bufferSize = 64 << 10

// A bufferPool lends the buffers that streams are copied with.
type bufferPool struct{ pool sync.Pool }

var _ httputil.BufferPool = (*bufferPool)(nil)

// Get returns a buffer of 64 KiB.
func (p *bufferPool) Get() []byte {
	b, _ := p.pool.Get().(*[bufferSize]byte)
	return b[:]
}

// Put takes a buffer back.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
