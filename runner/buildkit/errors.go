package buildkit

import (
	"cmp"
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

	"slipway/runner/registry"
	"slipway/runner/sandbox/cgroup"
)

// A BuildError is an error that the Dockerfile causes: another build of the same commit fails too.
// All other errors of Build and Push, except ctx's own, come from the infrastructure and can be
// retried.
type BuildError struct {
	Step     string // failed step as the progress shows it; empty if no step ran
	Line     int    // line in the Dockerfile, from 1; 0 = unknown
	ExitCode int    // exit code of a RUN step's command; 0 = no command failed
	Excerpt  string // the lines around Line, marked; may be empty
	Limit    string // the limit that the build met, with its setting (cgroup.Counters.Reason, DiskFull); may be empty
	Reason   string // a sentence about a common mistake, in place of the text of Err; may be empty
	Right    string // the right that RUN asks for and the build does not have, for example network.host; may be empty
	Err      error
}

// Error returns the line in the Dockerfile, if it is known, and Limit, Reason or the text of Err.
func (e *BuildError) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf("Dockerfile line %d: ", e.Line)
	}
	if reason := cmp.Or(e.Limit, e.Reason); reason != "" {
		return where + reason // the error itself repeats the command, which may be long
	}
	return where + plainMessage(e.Err)
}

// Unwrap returns the builder's error.
func (e *BuildError) Unwrap() error { return e.Err }

// CommandFailed reports whether a command of a RUN step made a build fail. The text of the error then contains the
// command, so the text of other errors in it means nothing.
func CommandFailed(err error) bool {
	var failed *BuildError
	return errors.As(err, &failed) && failed.ExitCode != 0
}

// OutOfMemory reports whether the command of a RUN step failed because memory was short. For a builder
// that does not count this, it reports whether SIGKILL ended the command, as the kernel does then.
func (e *BuildError) OutOfMemory() bool {
	return e.ExitCode == exitKilled && e.Limit == "" || strings.HasPrefix(e.Limit, cgroup.OutOfMemory)
}

// DiskFull reports whether the build failed because the disk of its builder was full.
func (e *BuildError) DiskFull() bool { return strings.HasPrefix(e.Limit, DiskFull) }

// exitKilled is the exit code of a command that was ended by SIGKILL (signal 9).
const exitKilled = 128 + 9

// classify converts an error of a solve to ctx's cause, a *BuildError, or an error of the infrastructure.
// step is the name of the failed step, if the progress contained it.
func classify(ctx context.Context, err error, step string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !isDockerfileError(err) {
		return &infrastructureError{err}
	}
	e := &BuildError{Step: step, Err: err}
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		e.ExitCode = int(exit.ExitCode)
		e.Limit = limitOf(err.Error())
	} else {
		e.Limit = diskFullIn(err.Error())
	}
	for _, source := range errdefs.Sources(err) {
		var text strings.Builder
		if len(source.Ranges) > 0 && source.Print(&text) == nil {
			e.Line, e.Excerpt = int(source.Ranges[0].Start.Line), text.String()
		}
	}
	return e
}

// An infrastructureError is an error that another build of the same commit may not meet.
type infrastructureError struct{ err error }

// Error returns the builder's text in one line: the answer of a registry or of a proxy may have several.
func (e *infrastructureError) Error() string { return "build: " + plainMessage(e.err) }

// Unwrap returns the builder's error.
func (e *infrastructureError) Unwrap() error { return e.err }

// limitOf returns the reason at the end of the error of a RUN step, if a limit made it fail. The command
// in the error may contain any text, so only the text after it counts.
func limitOf(text string) string {
	const afterCommand = "did not complete successfully: "
	i := strings.LastIndex(text, afterCommand)
	if i < 0 {
		return ""
	}
	reason := text[i+len(afterCommand):]
	switch {
	case strings.HasPrefix(reason, cgroup.OutOfMemory), strings.HasPrefix(reason, cgroup.ForkFailed),
		strings.HasPrefix(reason, DiskFull):
		return reason
	case reason == "cannot allocate memory": // buildkitd reports this with cgroups of version 2
		return cgroup.OutOfMemory
	}
	return ""
}

// isDockerfileError reports whether the Dockerfile caused an error. It did if a command ended with an
// exit code, whatever the command printed. It did also if the error has a line in the Dockerfile,
// unless the text is that of a failed network, registry or disk.
func isDockerfileError(err error) bool {
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode != gatewaypb.UnknownExitStatus
	}
	if refusalIn(err.Error()) != "" || diskFullIn(err.Error()) != "" {
		return true
	}
	switch grpcerrors.Code(err) {
	case codes.FailedPrecondition, codes.InvalidArgument:
		return true
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Internal:
		return false
	}
	hasLine := len(errdefs.Sources(err)) > 0
	if unknownHost().MatchString(err.Error()) && (hasLine || ofSource().MatchString(err.Error())) {
		return true
	}
	if infrastructureErrors().MatchString(err.Error()) {
		return false
	}
	return hasLine || dockerfileErrors().MatchString(err.Error())
}

// lazyRegexp returns a function that compiles an expression on its first call.
func lazyRegexp(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// infrastructureErrors matches error texts of Go's network stack, of registries and of the kernel. The
// error types are lost in gRPC. The expression is compiled lazily to save start time.
var infrastructureErrors = lazyRegexp(
	`(?i)dial (tcp|udp)|i/o timeout|tls handshake|connection (refused|reset)|broken pipe|unexpected EOF|no such host|` +
		`server misbehaving|unexpected status.*: (429|5\d\d)|(returned error:|invalid response status) (429|5\d\d)|` +
		`Temporary failure in name resolution|early EOF|toomanyrequests|no space left on device|disk quota|` +
		`cannot allocate memory|transport is closing|error reading from server|no active session|context canceled|` +
		`failed to mount|runc run failed: unable to start`,
)

// unknownHost matches the error texts of Go and git for a host name that does not exist. If a name server
// does not answer, the texts are different.
var unknownHost = lazyRegexp(`no such host|Name or service not known`)

// ofSource matches the errors of base images and other sources in a Dockerfile. They may have no line.
var ofSource = lazyRegexp(`failed to load cache key|failed to resolve source metadata`)

// refusalIn returns the part of a text that begins with a refusal by the builder's address policy; "" = the
// text has no refusal.
func refusalIn(text string) string {
	for _, start := range []string{RefusedADD, RefusedRegistry} {
		if _, refusal, found := strings.Cut(text, ": "+start); found {
			return start + refusal
		}
	}
	return ""
}

// diskFullIn returns the end of a text, from the full disk of the builder; "" = the text has none.
func diskFullIn(text string) string {
	if _, reason, found := strings.Cut(text, ": "+DiskFull); found {
		return DiskFull + reason
	}
	return ""
}

// dockerfileErrors matches errors of the Dockerfile for which BuildKit reports no line. For example, git
// cannot reach a refused address.
var dockerfileErrors = lazyRegexp(`failed to read dockerfile|dockerfile parse error|the Dockerfile cannot be empty|` +
	`(security\.insecure|network\.host|device) is not allowed|build arg|git stderr:|invalid response status 4|` +
	`target stage .* could not be found|failed to parse platform|not allowed by`)

// plainMessage returns the text of an error without the prefixes of gRPC and BuildKit.
func plainMessage(err error) string {
	text := err.Error()
	if refusal := refusalIn(text); refusal != "" {
		return refusal
	}
	for _, prefix := range []string{
		"failed to solve: ",
		"rpc error: code = Unknown desc = ",
		"rpc error: code = FailedPrecondition desc = ",
	} {
		text = strings.TrimPrefix(text, prefix)
	}
	if before, output, found := strings.Cut(text, gitOutput); found {
		return before + "git: " + strings.Join(nonEmptyLines(output), "; ")
	}
	return registry.OneLine(text)
}

// gitOutput is before the output of git in an error. The output has several lines, and the last line of an
// error is the one that people read.
const gitOutput = "git stderr:\n"

// nonEmptyLines returns the lines of a text without surrounding spaces. BuildKit ends the output of git with
// ": exit status 128" on a line of its own.
func nonEmptyLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, ": ")); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
