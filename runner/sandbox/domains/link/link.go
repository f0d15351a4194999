// Package link is the connection between a supervisor of builders and one of its builders: a pair of
// sockets, and one message a line. The builder reports its load, and the supervisor sends limits.
package link

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The messages of a builder.
const (
	busy    = "busy"    // a client is using the builder
	idle    = "idle"    // no client is using it
	refused = "refused" // it does not stop, because a client is using it
	size    = "size"    // size of its cache in bytes
	image   = "image"   // an image with layers that the builder had to unpack
)

// The messages of a supervisor.
const (
	stop     = "stop"     // stop if no client is using the builder
	parallel = "parallel" // number of steps that may run at once
)

// maxMessage is the longest message in bytes. The longest one has the name of an image.
const maxMessage = 1 << 10

// Pair returns the two ends of a link: the supervisor's connection, and the file that the builder
// inherits. The caller closes both.
func Pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the link to a builder: %w", err)
	}
	own := os.NewFile(uintptr(fds[0]), "link")
	defer func() { _ = own.Close() }() // FileConn duplicates it
	builder := os.NewFile(uintptr(fds[1]), "link")
	conn, err := net.FileConn(own)
	if err != nil {
		_ = builder.Close()
		return nil, nil, fmt.Errorf("make the link to a builder: %w", err)
	}
	return conn, builder, nil
}

// SendStop asks the builder to stop if no client is using it. The builder ends, or reports Refused.
func SendStop(w io.Writer) error { return send(w, stop, "") }

// SendParallel sets the number of steps that the builder may run at once.
func SendParallel(w io.Writer, steps int) error { return send(w, parallel, strconv.Itoa(steps)) }

// Reports receives the messages of a builder. Calls do not overlap.
type Reports struct {
	Busy    func(busy bool)   // reports whether a client is using the builder
	Refused func()            // the builder does not stop, because a client is using it
	Size    func(bytes int64) // size of the builder's cache
	Image   func(name string) // an image with layers that the builder had to unpack; its name is not checked
}

// Receive calls the functions for the builder's messages until the link ends.
func (r Reports) Receive(link io.Reader) {
	receive(link, func(name, value string) {
		switch name {
		case busy, idle:
			r.Busy(name == busy)
		case refused:
			r.Refused()
		case size:
			if bytes, err := strconv.ParseInt(value, 10, 64); err == nil && bytes >= 0 {
				r.Size(bytes)
			}
		case image:
			r.Image(value)
		}
	})
}

// Requests receives the messages of a supervisor. Calls do not overlap.
type Requests struct {
	Stop     func()          // stop if no client is using the builder
	Parallel func(steps int) // number of steps that may run at once
}

// Receive calls the functions for the supervisor's messages until the link ends.
func (r Requests) Receive(link io.Reader) {
	receive(link, func(name, value string) {
		switch name {
		case stop:
			r.Stop()
		case parallel:
			if steps, err := strconv.Atoi(value); err == nil {
				r.Parallel(steps)
			}
		}
	})
}

// A Reporter sends a builder's messages. It never blocks its caller. If several loads or sizes are
// unsent, it sends only the latest. It is safe for concurrent use.
type Reporter struct {
	changed chan struct{} // holds a token if there is something to send

	mu      sync.Mutex
	pending map[string]message // unsent messages; of two with one key, the later one is sent
}

type message struct{ name, value string }

// NewReporter returns a Reporter that sends nothing yet.
func NewReporter() *Reporter {
	return &Reporter{changed: make(chan struct{}, 1), pending: map[string]message{}}
}

// Run sends the messages until done is closed or the link ends.
func (r *Reporter) Run(done <-chan struct{}, link io.Writer) {
	for {
		select {
		case <-done:
			return
		case <-r.changed:
		}
		for _, m := range r.take() {
			if send(link, m.name, m.value) != nil { // the supervisor has ended
				return
			}
		}
	}
}

// Busy reports whether a client is using the builder.
func (r *Reporter) Busy(isBusy bool) {
	name := idle
	if isBusy {
		name = busy
	}
	r.add("load", message{name, ""})
}

// Refused reports that the builder does not stop.
func (r *Reporter) Refused() { r.add(refused, message{refused, ""}) }

// Size reports the size of the builder's cache in bytes.
func (r *Reporter) Size(bytes int64) { r.add(size, message{size, strconv.FormatInt(bytes, 10)}) }

// Image reports an image with layers that the builder had to unpack. It ignores names that are longer
// than a message.
func (r *Reporter) Image(name string) {
	if len(name) < maxMessage-len(image)-1 {
		r.add(image+" "+name, message{image, name})
	}
}

func (r *Reporter) add(key string, m message) {
	r.mu.Lock()
	r.pending[key] = m
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *Reporter) take() map[string]message {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.pending
	r.pending = map[string]message{}
	return all
}

func send(w io.Writer, name, value string) error {
	_, err := fmt.Fprintf(w, "%s %s\n", name, value)
	return err
}

// receive calls f for each message until the link ends. It skips lines that are longer than a message. The end
// of the link shows the supervisor that all processes of the builder have ended, so no line may end it.
func receive(link io.Reader, f func(name, value string)) {
	lines := bufio.NewReaderSize(link, maxMessage)
	for skip := false; ; {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			skip = true
		case err != nil:
			return
		case skip:
			skip = false
		default:
			name, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
			f(name, value)
		}
	}
}
