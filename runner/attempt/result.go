package attempt

import (
	"context"
	"errors"
	"fmt"

	"slipway/config/buildservice"
	"slipway/config/netpolicy"
	"slipway/config/text"
	"slipway/runner/buildhooks"
	"slipway/runner/buildkit"
	"slipway/runner/registry"
	"slipway/runner/report"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// The reasons of results, as in the gateway's autobuild.Reason.
const (
	reasonUser           = "user"
	reasonSuperseded     = "superseded"
	reasonTimeout        = "timeout"
	reasonOOM            = "oom"
	reasonDisk           = "disk"
	reasonCommitGone     = "commit_gone"
	reasonInfrastructure = "infrastructure"
	reasonBuild          = "build"
	reasonHook           = "hook"
	reasonTest           = "test"
	reasonConfig         = "config"
	reasonSpace          = "space"
)

// maxDetail bounds the detail of a result, in bytes.
const maxDetail = 500

// A ResultError is the error of an attempt that did not succeed.
type ResultError struct{ Result spec.Result }

// Error returns the state, the reason and the detail of the result.
func (e *ResultError) Error() string {
	return fmt.Sprintf("build %s (%s): %s", e.Result.State, e.Result.Reason, e.Result.Detail)
}

// A fault is an error whose state and reason are known.
type fault struct {
	state  spec.State
	reason string
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// failed returns an error that the repository caused.
func failed(reason string, err error) error {
	return &fault{state: spec.Failed, reason: reason, err: err}
}

// errTimeout is the cause that ends the context of an attempt at its time limit.
var errTimeout = errors.New("the build took longer than its time limit")

// resultOf returns the result of an attempt that ended with an error, or with nil. Failed is the
// repository's fault; Error is one of the infrastructure, which another attempt may not meet.
func resultOf(ctx context.Context, err error) spec.Result {
	if err == nil {
		return spec.Result{State: spec.Succeeded}
	}
	cause := context.Cause(ctx)
	stoppedForDisk := errors.Is(cause, context.Canceled) && isDiskFull(err)
	if cause != nil && !stoppedForDisk {
		return resultOfCause(cause)
	}
	state, reason := classify(err)
	return result(state, reason, err)
}

// resultOfCause returns the result of an attempt whose context ended.
func resultOfCause(cause error) spec.Result {
	var cancelled *report.Cancelled
	switch {
	case errors.Is(cause, errTimeout):
		return result(spec.Failed, reasonTimeout, cause)
	case errors.As(cause, &cancelled):
		return result(spec.Cancelled, reasonUser, cause)
	case errors.Is(cause, context.Canceled):
		return spec.Result{State: spec.Cancelled, Reason: reasonUser, Detail: "the runner was stopped (SIGTERM)"}
	}
	return result(spec.Error, reasonInfrastructure, cause)
}

func result(state spec.State, reason string, err error) spec.Result {
	return spec.Result{State: state, Reason: reason, Detail: text.OneLine(err.Error(), maxDetail)}
}

func classify(err error) (spec.State, string) {
	var own *fault
	var dockerfile *buildkit.BuildError
	var hook *buildhooks.Failure
	var path *source.PathError
	var denied *registry.UnauthorizedError
	var full *buildservice.NoSpaceError
	switch {
	case errors.As(err, &own):
		return own.state, own.reason
	case errors.As(err, &dockerfile) && dockerfile.OutOfMemory():
		return spec.Failed, reasonOOM
	case errors.As(err, &dockerfile) && dockerfile.DiskFull():
		return spec.Failed, reasonDisk
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
	case errors.As(err, &full):
		return spec.Error, reasonSpace
	case errors.As(err, &denied), errors.Is(err, netpolicy.ErrRefused):
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
