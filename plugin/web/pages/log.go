package pages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/web/pages/loghtml"
	"slipway/plugin/web/session"
)

const (
	logChunk     = 64 << 10         // bytes of a log to read at once
	shownLines   = 4000             // lines of a log on a build's page; the raw log has all lines
	heartbeat    = 10 * time.Second // between events of a stream, to detect dead connections
	writeTimeout = 15 * time.Second // for one event
	pollAttempt  = time.Second      // between checks of an attempt without new output
)

// renderLog reads and renders an attempt's log up to its current end.
func (p *Pages) renderLog(ctx context.Context, a autobuild.Attempt) (logView, error) {
	view := logView{Live: !a.State.Final()}
	var renderer loghtml.Renderer
	var lines []loghtml.Line
	keep := func(more []loghtml.Line) {
		lines = append(lines, more...)
		if extra := len(lines) - 2*shownLines; extra > 0 {
			lines = append([]loghtml.Line(nil), lines[len(lines)-shownLines:]...)
		}
	}
	err := p.eachChunk(ctx, a, 0, func(chunk []byte) error {
		view.Offset += int64(len(chunk))
		keep(renderer.Write(chunk))
		return nil
	})
	if err != nil {
		return view, err
	}
	if view.Live {
		view.Groups = []loghtml.Group{{Lines: lastLines(lines, shownLines)}}
	} else {
		lines = append(lines, renderer.Flush()...)
		view.Groups = loghtml.Fold(lastLines(lines, shownLines))
	}
	if len(lines) > 0 {
		view.Skipped = lastLines(lines, shownLines)[0].Number - 1
	}
	return view, nil
}

func lastLines(lines []loghtml.Line, n int) []loghtml.Line {
	return lines[max(0, len(lines)-n):]
}

// eachChunk calls do with each chunk of a log, from an offset to its current end. A missing log is
// empty.
func (p *Pages) eachChunk(ctx context.Context, a autobuild.Attempt, offset int64, do func([]byte) error) error {
	for {
		chunk, err := p.Logs.Read(ctx, a.BuildID, a.Number, offset, logChunk)
		if err != nil && !errors.Is(err, autobuild.ErrNotFound) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("log of attempt %d at %d: %w", a.Number, offset, err)
		}
		if len(chunk) == 0 {
			return nil
		}
		if err := do(chunk); err != nil {
			return err
		}
		offset += int64(len(chunk))
	}
}

// logAttempt returns the attempt in the query of a log's request, else the newest attempt.
func (p *Pages) logAttempt(c *gin.Context) (autobuild.Attempt, error) {
	b, err := p.findBuild(c)
	if err != nil {
		return autobuild.Attempt{}, err
	}
	number := b.Attempt
	if asked := c.Query("attempt"); asked != "" {
		number, err = strconv.Atoi(asked)
		if err != nil {
			return autobuild.Attempt{}, fmt.Errorf("attempt %q: %w", asked, autobuild.ErrNotFound)
		}
	}
	a, err := p.Store.Attempt(c.Request.Context(), b.ID, number)
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("attempt %d of build %d: %w", number, b.Number, err)
	}
	return a, nil
}

// sendRawLog sends a log as text, starting at ?offset in bytes of the stored log. Users also read it in a
// terminal with curl, so it removes control sequences. With ?colors=1 it keeps those for colors, and with
// ?raw=1 it sends the stored bytes as a file.
func (p *Pages) sendRawLog(c *gin.Context) error {
	a, err := p.logAttempt(c)
	if err != nil {
		return err
	}
	offset, err := strconv.ParseInt(c.DefaultQuery("offset", "0"), 10, 64)
	if err != nil || offset < 0 {
		return fmt.Errorf("log offset %q: %w", c.Query("offset"), autobuild.ErrNotFound)
	}
	control := http.NewResponseController(c.Writer)
	write := func(chunk []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a long log can take longer than the server's limit
		_, err := c.Writer.Write(chunk)
		return err
	}
	contentType, disposition := "text/plain; charset=utf-8", "inline"
	if c.Query("raw") == "1" {
		contentType, disposition = "application/octet-stream", "attachment"
	}
	c.Header("Content-Type", contentType)
	c.Header(
		"Content-Disposition",
		fmt.Sprintf(`%s; filename="build-%s-%d.log"`, disposition, c.Param("number"), a.Number),
	)
	c.Header("Cache-Control", "no-store")
	c.Status(http.StatusOK)
	if c.Query("raw") == "1" {
		return p.eachChunk(c.Request.Context(), a, offset, write)
	}
	plain := loghtml.Plain{Colors: c.Query("colors") == "1"}
	err = p.eachChunk(c.Request.Context(), a, offset, func(chunk []byte) error { return write(plain.Write(chunk)) })
	if err != nil {
		return err
	}
	return write(plain.Flush())
}

// streamLog sends new lines of a log as server-sent events. The id of an event is the offset up to
// which the log was read. The last event is "end" with the final state.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
func (p *Pages) streamLog(c *gin.Context) error {
	a, err := p.logAttempt(c)
	if err != nil {
		return err
	}
	from := c.GetHeader("Last-Event-ID")
	if from == "" {
		from = c.DefaultQuery("offset", "0")
	}
	offset, err := strconv.ParseInt(from, 10, 64)
	if err != nil || offset < 0 {
		return fmt.Errorf("log offset %q: %w", from, autobuild.ErrNotFound)
	}
	s := &logStream{
		pages: p, attempt: a, out: c.Writer, control: http.NewResponseController(c.Writer),
		recheck: func() error { return p.mayStillRead(c) },
	}
	// The server's read timeout would close the connection.
	_ = s.control.SetReadDeadline(time.Time{}) // fails only if the writer has no deadlines
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	return s.run(c.Request.Context(), offset)
}

// A logStream sends one log to one browser.
type logStream struct {
	pages    *Pages
	attempt  autobuild.Attempt
	renderer loghtml.Renderer
	offset   int64        // number of bytes that the renderer has read
	shown    int64        // number of bytes whose lines the browser has
	recheck  func() error // returns an error if the user may no longer read the log
	out      io.Writer
	control  *http.ResponseController
}

// mayStillRead repeats the checks of the route's guard: the session is valid, and the user may read
// the build.
func (p *Pages) mayStillRead(c *gin.Context) error {
	user, err := p.Sessions.Reload(c)
	if err != nil {
		return err
	}
	if !administers(user) {
		if err := p.Rights.CurrentPermissions(c.Request.Context(), session.ID(c), user.ID); err != nil {
			return err
		}
	}
	_, err = p.findBuild(c)
	return err
}

// run sends the log until it ends. It returns nil if the log ends, the browser disconnects, or the
// user may no longer read the log. In the last case the guard rejects the browser's next request.
func (s *logStream) run(ctx context.Context, from int64) error {
	s.shown = from
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	poll := time.NewTicker(pollAttempt)
	defer poll.Stop()
	recheck := time.NewTicker(s.pages.Recheck)
	defer recheck.Stop()
	if err := s.send(": following\n\n"); err != nil {
		return nil
	}
	for {
		more := s.pages.Logs.Follow(ctx, s.attempt.BuildID, s.attempt.Number, s.offset)
		a, err := s.pages.Store.Attempt(ctx, s.attempt.BuildID, s.attempt.Number)
		if err != nil {
			return fmt.Errorf("follow attempt %d: %w", s.attempt.Number, err)
		}
		if err := s.sendNew(ctx); err != nil {
			return ignoreDisconnect(ctx, err)
		}
		if a.State.Final() {
			return ignoreDisconnect(ctx, s.sendEnd(a))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.pages.Stopping: // the browser continues at the next program
			return nil
		case <-more:
		case <-poll.C:
		case <-recheck.C:
			if err := s.recheck(); err != nil {
				logctx.Log(ctx, s.pages.Log).
					WithError(err).
					Debug("log stream ended: the user may no longer read the log")
				return nil
			}
		case <-beat.C:
			if err := s.send(": \n\n"); err != nil {
				return nil
			}
		}
	}
}

// errDisconnected means that the browser does not receive any more.
var errDisconnected = errors.New("the browser has disconnected")

// ignoreDisconnect returns nil for an error that only means that the browser has disconnected.
func ignoreDisconnect(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, errDisconnected) {
		return err
	}
	return nil
}

// sendNew sends the new lines of the log. The renderer reads from the start, so that line numbers and
// colors are correct at every offset.
func (s *logStream) sendNew(ctx context.Context) error {
	return s.pages.eachChunk(ctx, s.attempt, s.offset, func(chunk []byte) error {
		if before := s.shown - s.offset; before > 0 && before < int64(len(chunk)) {
			s.renderer.Write(chunk[:before])
			s.offset += before
			chunk = chunk[before:]
		}
		lines := s.renderer.Write(chunk)
		s.offset += int64(len(chunk))
		if s.offset <= s.shown {
			return nil
		}
		s.shown = s.offset
		return s.sendLines(lines)
	})
}

func (s *logStream) sendLines(lines []loghtml.Line) error {
	if len(lines) == 0 {
		return nil
	}
	var event strings.Builder
	fmt.Fprintf(&event, "id: %d\nevent: lines\n", s.offset)
	for _, l := range lines {
		fmt.Fprintf(&event, "data: %s\n", l.Row())
	}
	event.WriteString("\n")
	return s.send(event.String())
}

func (s *logStream) sendEnd(a autobuild.Attempt) error {
	if err := s.sendLines(s.renderer.Flush()); err != nil {
		return err
	}
	return s.send(fmt.Sprintf("event: end\ndata: %s\n\n", a.State))
}

// send writes one event. It returns errDisconnected if the browser does not receive it in time.
func (s *logStream) send(event string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only if the writer has no deadlines
	if _, err := io.WriteString(s.out, event); err != nil {
		return errors.Join(errDisconnected, err)
	}
	if err := s.control.Flush(); err != nil {
		return errors.Join(errDisconnected, err)
	}
	return nil
}
