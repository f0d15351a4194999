// Package gitproxy serves git fetches to runners, so that the linked account's token stays in the
// gateway. It forwards read-only smart HTTP for the build's repository only, and authorizes each request
// with the token of the build's attempt:
//
//	GET  /git/{build}/info/refs?service=git-upload-pack
//	POST /git/{build}/git-upload-pack
//	POST /git/{build}/info/lfs/objects/batch     downloads only
//	GET  /git/{build}/lfs/{object}               an object of an earlier batch response
//
// No part of a request becomes part of the upstream address. A request ends with its attempt, even in
// the middle of a stream.
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

// The limits of the proxy. A transfer holds a slot while it runs, so that any number of clones leaves
// connections of the gateway for webhooks and pages.
const (
	maxTransfers    = 64               // concurrent transfers
	maxWaiting      = 128              // requests that wait for a slot
	maxPerAttempt   = 12               // concurrent requests of one attempt; git-lfs downloads 8 objects at a time
	maxBatches      = 4                // LFS batches that are decoded concurrently
	slotTimeout     = 30 * time.Second // longest wait for a slot
	idleTimeout     = 2 * time.Minute  // longest time between two bytes that the client reads or writes
	responseTimeout = 2 * time.Minute  // longest time until the upstream's response begins
	checkInterval   = time.Second      // time between two checks that the attempt of a request is active
	maxRequest      = 32 << 20         // largest negotiation, in bytes as sent
)

// A Store reads attempts and builds. *store.Store implements it. It is safe for concurrent use.
type Store interface {
	// AttemptByToken returns the attempt of a build with a token's hash. ErrUnauthorized means that it does
	// not exist. ErrFenced (with the attempt) means that it has ended.
	AttemptByToken(ctx context.Context, buildID, tokenHash string) (autobuild.Attempt, error)
	// Build returns a build with the current name of its repository, or ErrNotFound.
	Build(ctx context.Context, id string) (autobuild.Build, error)
	// AutomatedBuild returns an automated build, or ErrNotFound.
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	// RenameRepository stores a repository's new name. ErrNotFound means that the repository is unknown.
	RenameRepository(ctx context.Context, r autobuild.Repository) error
}

// Options configure a Proxy. Store, Connector, BaseURL and Log are required.
type Options struct {
	Store     Store
	Connector autobuild.Connector
	// BaseURL returns the gateway's address for the runners of an engine, without a trailing slash.
	// It is part of LFS responses.
	BaseURL func(engine string) string
	// Policy decides to which hosts the proxy connects for LFS objects. Their addresses come from batch
	// responses and redirects.
	Policy netpolicy.Policy
	Log    logrus.FieldLogger

	Transfers int           // concurrent transfers; default 64
	Wait      time.Duration // longest wait for a slot; default 30 s
	Idle      time.Duration // timeout of a client that neither reads nor writes; default 2 min
	Check     time.Duration // time between two checks of a request's attempt; default 1 s
}

// A Proxy handles the requests of runners. It is safe for concurrent use.
type Proxy struct {
	o        Options
	upstream http.RoundTripper // to the provider's git server
	objects  http.RoundTripper // to the hosts of LFS objects
	renames  *rate.Limiter     // limits look-ups of repository names, which use the API budget
	buffers  bufferPool
	slots    chan struct{}
	batches  chan struct{}
	waiting  atomic.Int32
	quiet    *log.Logger

	mu       sync.Mutex
	sessions map[key]*session
	held     int // bytes of LFS addresses and headers in all sessions
}

// New returns a Proxy. Call Close to end it.
func New(o Options) *Proxy {
	if o.Transfers == 0 {
		o.Transfers = maxTransfers
	}
	if o.Wait == 0 {
		o.Wait = slotTimeout
	}
	if o.Idle == 0 {
		o.Idle = idleTimeout
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
		slots:   make(chan struct{}, o.Transfers), batches: make(chan struct{}, maxBatches),
		quiet: log.New(io.Discard, "", 0), sessions: map[key]*session{},
	}
}

// newTransport returns a transport that does not change bytes. It does not use HTTP/2, where fetches share
// one flow-control window, so that a slow client slows down the others.
func newTransport(connections int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: nil, DisableCompression: true, Protocols: protocols,
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: responseTimeout, MaxResponseHeaderBytes: 64 << 10,
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

// Serve handles one request below /git/. It either writes the whole response, or returns a *Refusal without
// writing. It panics with http.ErrAbortHandler if the response ends early.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request) error {
	call, ok := parseRoute(r)
	if !ok {
		return refuse(http.StatusForbidden, "only git fetch of the build's own repository is served here", nil)
	}
	attempt, s, err := p.beginRequest(r, call.build)
	if err != nil {
		return err
	}
	defer p.endRequest(s)
	ctx, cancel := context.WithCancelCause(logctx.Attempt(r.Context(), attempt))
	defer cancel(nil)
	limits := newDeadlines(w, p.o.Idle)
	defer limits.finish()
	defer onEnd(s.ctx, func() {
		cancel(context.Cause(s.ctx))
		limits.end() // the end of a context does not end a Write to a client that stopped reading
	})()
	if err := p.acquireSlot(ctx); err != nil {
		return err
	}
	defer func() { <-p.slots }()
	r = r.WithContext(ctx)
	r.Body = limits.reader(http.MaxBytesReader(w, r.Body, maxRequest))
	upstream, err := p.repositoryOf(ctx, attempt.BuildID)
	if err != nil {
		return err
	}
	switch call.kind {
	case lfsBatch:
		return p.serveBatch(limits.writer(w), r, s, upstream, p.o.BaseURL(attempt.Engine)+pathPrefix+call.build)
	case lfsObject:
		return p.serveObject(limits.writer(w), r, s, upstream, call.object)
	default:
		return p.forward(limits.writer(w), r, upstream, call.kind)
	}
}

const bufferSize = 64 << 10

// A bufferPool holds the buffers for copying streams.
type bufferPool struct{ pool sync.Pool }

var _ httputil.BufferPool = (*bufferPool)(nil)

// Get returns a buffer of 64 KiB.
func (p *bufferPool) Get() []byte {
	b, _ := p.pool.Get().(*[bufferSize]byte)
	return b[:]
}

// Put returns a buffer to the pool.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
