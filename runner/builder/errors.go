package builder

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

// A BuildError is the Dockerfile's doing: building the same commit again will fail again.
// Every other error of Build and Push but ctx's own is the surroundings' and worth
// another attempt.
type BuildError struct {
	Step     string // the failing step as the progress shows it; empty when none ran
	Line     int    // in the Dockerfile, from 1; 0 = not known
	ExitCode int    // of a RUN step's command; 0 = it was not that
	Excerpt  string // the lines around Line, marked; may be empty
	Err      error
}

func (e *BuildError) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf("Dockerfile line %d: ", e.Line)
	}
	return where + plainMessage(e.Err)
}

func (e *BuildError) Unwrap() error { return e.Err }

// classify turns an error of a solve into ctx's error, a *BuildError or an error of the
// surroundings. step names the vertex that failed, as far as the progress told.
func classify(ctx context.Context, err error, step string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !dockerfilesDoing(err) {
		return fmt.Errorf("build: %w", err)
	}
	e := &BuildError{Step: step, Err: err}
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		e.ExitCode = int(exit.ExitCode)
	}
	for _, source := range errdefs.Sources(err) {
		var text strings.Builder
		if len(source.Ranges) > 0 && source.Print(&text) == nil {
			e.Line, e.Excerpt = int(source.Ranges[0].Start.Line), text.String()
		}
	}
	return e
}

// dockerfilesDoing decides whose fault an error is. A command that ended with a status is
// the Dockerfile's, whatever it printed. What has a place in the Dockerfile is its too,
// unless it reads like a network, registry or disk that failed.
func dockerfilesDoing(err error) bool {
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode != gatewaypb.UnknownExitStatus
	}
	switch grpcerrors.Code(err) {
	case codes.FailedPrecondition, codes.InvalidArgument:
		return true
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Internal:
		return false
	}
	if surroundings().MatchString(err.Error()) {
		return false
	}
	return len(errdefs.Sources(err)) > 0 || repositoryWords().MatchString(err.Error())
}

// matching is an expression that is made when it is needed.
func matching(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// surroundings are the words of Go's network stack, of registries and of the kernel; the
// types do not survive the wire. Who needs no such words does not wait for them either.
var surroundings = matching(`(?i)dial (tcp|udp)|i/o timeout|tls handshake|connection (refused|reset)|broken pipe|unexpected EOF|no such host|` +
	`server misbehaving|unexpected status.*: (429|5\d\d)|toomanyrequests|no space left on device|disk quota|cannot allocate memory|` +
	`transport is closing|error reading from server|no active session|context canceled|failed to mount|runc run failed: unable to start`)

// repositoryWords are of errors that BuildKit gives no place in the Dockerfile.
var repositoryWords = matching(`failed to read dockerfile|dockerfile parse error|the Dockerfile cannot be empty|` +
	`(security\.insecure|network\.host|device) is not allowed|build arg|target stage .* could not be found|failed to parse platform|not allowed by`)

// plainMessage drops the words of the layers that an error came through.
func plainMessage(err error) string {
	text := err.Error()
	if _, refusal, found := strings.Cut(text, ": "+RefusedADD); found {
		return RefusedADD + refusal
	}
	for _, prefix := range []string{"failed to solve: ", "rpc error: code = Unknown desc = ", "rpc error: code = FailedPrecondition desc = "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
