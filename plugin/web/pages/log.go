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
	logChunk    = 64 << 10         // bytes read of a log at once
	shownLines  = 4000             // lines of a log on a build's page; the raw log has all
	heartbeat   = 10 * time.Second // of a stream, so that dead ones are noticed
	writeWithin = 15 * time.Second // for a browser to take one event
	lookAgain   = time.Second      // how often a silent log's attempt is looked at
)

// renderLog reads an attempt's log as far as it goes.
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
		view.Groups = []loghtml.Group{{Lines: tail(lines, shownLines)}}
	} else {
		lines = append(lines, renderer.Flush()...)
		view.Groups = loghtml.Fold(tail(lines, shownLines))
	}
	if len(lines) > 0 {
		view.Skipped = tail(lines, shownLines)[0].Number - 1
	}
	return view, nil
}

func tail(lines []loghtml.Line, n int) []loghtml.Line {
	return lines[max(0, len(lines)-n):]
}

// eachChunk reads a log from an offset to its present end. A log that is not there is empty.
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

// askedAttempt reads the attempt that a log's request names, else the build's newest.
func (p *Pages) askedAttempt(c *gin.Context) (autobuild.Attempt, error) {
	b, err := p.findBuild(c)
	if err != nil {
		return autobuild.Attempt{}, err
	}
	number := b.Attempt
	if asked := c.Query("attempt"); asked != "" {
		if number, err = strconv.Atoi(asked); err != nil {
			return autobuild.Attempt{}, fmt.Errorf("attempt %q: %w", asked, autobuild.ErrNotFound)
		}
	}
	a, err := p.Store.Attempt(c.Request.Context(), b.ID, number)
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("attempt %d of build %d: %w", number, b.Number, err)
	}
	return a, nil
}

// rawLog sends a log as text, from ?offset on, in bytes of the log as it was written. People read
// it with curl, too, so control sequences other than colors are removed. With ?raw=1 the bytes are
// sent as they were written, as a file to save.
func (p *Pages) rawLog(c *gin.Context) error {
	a, err := p.askedAttempt(c)
	if err != nil {
		return err
	}
	offset, err := strconv.ParseInt(c.DefaultQuery("offset", "0"), 10, 64)
	if err != nil || offset < 0 {
		return fmt.Errorf("log offset %q: %w", c.Query("offset"), autobuild.ErrNotFound)
	}
	control := http.NewResponseController(c.Writer)
	write := func(chunk []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin)) // a long log may take longer than the server's limit
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
	var plain loghtml.Plain
	err = p.eachChunk(c.Request.Context(), a, offset, func(chunk []byte) error { return write(plain.Write(chunk)) })
	if err != nil {
		return err
	}
	return write(plain.Flush())
}

// streamLog sends the lines of a log as they come, as server-sent events whose id is the
// offset up to which the log was read. The last event, end, carries the final state.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
func (p *Pages) streamLog(c *gin.Context) error {
	a, err := p.askedAttempt(c)
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
	// The server's limit on reading a request would end the connection in the middle.
	_ = s.control.SetReadDeadline(time.Time{}) // a writer without deadlines needs none lifted
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	return s.run(c.Request.Context(), offset)
}

// A logStream is one browser that follows one log.
type logStream struct {
	pages    *Pages
	attempt  autobuild.Attempt
	renderer loghtml.Renderer
	offset   int64        // bytes that the renderer has read
	shown    int64        // bytes that the browser has seen the lines of
	recheck  func() error // an error: the person may no longer read the log
	out      io.Writer
	control  *http.ResponseController
}

// mayStillRead checks again what the guard of a stream's route checked at its beginning: the
// session goes on, and the build is still visible.
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

// run ends without an error when the log does, the browser leaves, or the person may no longer
// read the log: a browser that comes again gets the answer of the guard.
func (s *logStream) run(ctx context.Context, from int64) error {
	s.shown = from
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
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
		if err := s.catchUp(ctx); err != nil {
			return gone(ctx, err)
		}
		if a.State.Final() {
			return gone(ctx, s.end(a))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		case <-look.C:
		case <-recheck.C:
			if err := s.recheck(); err != nil {
				logctx.Log(ctx, s.pages.Log).
					WithError(err).
					Debug("a log's stream ends: the person may no longer read it")
				return nil
			}
		case <-beat.C:
			if err := s.send(": \n\n"); err != nil {
				return nil
			}
		}
	}
}

// errLeft says that the browser takes no more.
var errLeft = errors.New("the browser left")

// gone makes nothing of an error that is only the browser's leaving.
func gone(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, errLeft) {
		return err
	}
	return nil
}

// catchUp sends what the log has beyond what was sent. The renderer reads from the start,
// so that numbers and colours are right wherever the browser goes on.
func (s *logStream) catchUp(ctx context.Context) error {
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
		return s.lines(lines)
	})
}

func (s *logStream) lines(lines []loghtml.Line) error {
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

func (s *logStream) end(a autobuild.Attempt) error {
	if err := s.lines(s.renderer.Flush()); err != nil {
		return err
	}
	return s.send(fmt.Sprintf("event: end\ndata: %s\n\n", a.State))
}

// send writes one event, and gives up on a browser that does not take it in time.
func (s *logStream) send(event string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeWithin)) // see SetReadDeadline
	if _, err := io.WriteString(s.out, event); err != nil {
		return errors.Join(errLeft, err)
	}
	if err := s.control.Flush(); err != nil {
		return errors.Join(errLeft, err)
	}
	return nil
}
