package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/runner/buildhooks"
	"slipway/runner/registry"
	"slipway/runner/report"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// The reasons of results, in the words of the gateway's autobuild.Reason.
const (
	reasonUser           = "user"
	reasonSuperseded     = "superseded"
	reasonTimeout        = "timeout"
	reasonOOM            = "oom"
	reasonCommitGone     = "commit_gone"
	reasonInfrastructure = "infrastructure"
	reasonBuild          = "build"
	reasonHook           = "hook"
	reasonTest           = "test"
	reasonConfig         = "config"
)

// A fault is an end other than success that the step itself decided on.
type fault struct {
	state  spec.State
	reason string
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// failed is the repository's doing.
func failed(reason string, err error) error {
	return &fault{state: spec.Failed, reason: reason, err: err}
}

// errTimeout is the cause with which the time of an attempt runs out.
var errTimeout = errors.New("the build took longer than it may")

// judge tells from an error how the attempt ended: Failed is the repository's doing, Error
// the surroundings', which another attempt may mend.
func judge(ctx context.Context, err error) spec.Result {
	if err == nil {
		return spec.Result{State: spec.Succeeded}
	}
	if ctx.Err() != nil {
		return ended(context.Cause(ctx))
	}
	state, reason := classify(err)
	return spec.Result{State: state, Reason: reason, Detail: oneLine(err)}
}

// ended is the result of an attempt whose context ended.
func ended(cause error) spec.Result {
	var cancelled *report.Cancelled
	switch {
	case errors.Is(cause, errTimeout):
		return spec.Result{State: spec.Failed, Reason: reasonTimeout, Detail: oneLine(cause)}
	case errors.As(cause, &cancelled):
		return spec.Result{State: spec.Cancelled, Reason: reasonUser, Detail: oneLine(cause)}
	case errors.Is(cause, context.Canceled):
		return spec.Result{State: spec.Cancelled, Reason: reasonUser, Detail: "the runner was told to stop (SIGTERM)"}
	}
	return spec.Result{State: spec.Error, Reason: reasonInfrastructure, Detail: oneLine(cause)}
}

func classify(err error) (spec.State, string) {
	var own *fault
	var dockerfile *DockerfileError
	var hook *buildhooks.Failure
	var path *source.PathError
	var denied *registry.UnauthorizedError
	switch {
	case errors.As(err, &own):
		return own.state, own.reason
	case errors.As(err, &dockerfile) && dockerfile.OOM:
		return spec.Failed, reasonOOM
	case errors.As(err, &dockerfile):
		return spec.Failed, reasonBuild
	case errors.As(err, &hook):
		return spec.Failed, hookReason(hook.Hook)
	case errors.As(err, &path):
		return spec.Failed, reasonConfig
	case errors.Is(err, source.ErrSubmodule), errors.Is(err, source.ErrSSHKey):
		return spec.Failed, reasonConfig
	case errors.Is(err, source.ErrCommitGone):
		return spec.Failed, reasonCommitGone
	case errors.As(err, &denied):
		return spec.Error, reasonConfig
	}
	return spec.Error, reasonInfrastructure
}

func hookReason(hook buildhooks.Name) string {
	switch hook {
	case buildhooks.PreTest, buildhooks.Test, buildhooks.PostTest:
		return reasonTest
	}
	return reasonHook
}

// A maskedError is an error whose text has stars in the place of secrets.
type maskedError struct {
	err  error
	text string
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }

// masked masks the text of an error that goes into a result. That is shown on pages and at the
// provider, and may be cut (oneLine), after which a part of a secret would not be found any more.
func masked(r *secret.Redactor, err error) error {
	if err == nil {
		return nil
	}
	return &maskedError{err: err, text: string(r.Mask([]byte(err.Error())))}
}

// maxDetail bounds the sentence of a result, in bytes.
const maxDetail = 500

// oneLine is an error as a sentence for people.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}

// A ResultError is what Run returns for an attempt that did not succeed.
type ResultError struct{ Result spec.Result }

func (e *ResultError) Error() string {
	return fmt.Sprintf("build %s (%s): %s", e.Result.State, e.Result.Reason, e.Result.Detail)
}
