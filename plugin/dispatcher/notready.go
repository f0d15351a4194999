package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/store/queue"
)

// errRemoved means that the build's automated build does not exist any more.
var errRemoved = errors.New("its automated build was deleted")

// A notReadyError is the reason why a build cannot start yet, as its page shows it.
type notReadyError struct {
	detail     string
	retryAfter time.Duration
	reason     autobuild.Reason // ReasonSpace, or empty
}

func (e notReadyError) Error() string { return e.detail }

// ownerOf returns the automated build of a build, after it checked that its engine is configured and that
// the linked account works. It makes no network call. It returns errRemoved if the automated
// build was deleted, and a notReadyError if a user must fix the configuration.
func (d *Dispatcher) ownerOf(ctx context.Context, b autobuild.Build) (autobuild.AutomatedBuild, error) {
	a, err := d.o.Store.AutomatedBuild(ctx, b.AutomatedBuildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return a, errRemoved
	}
	if err != nil {
		return a, fmt.Errorf("load automated build of %d: %w", b.Number, err)
	}
	if _, ok := d.o.Engines[a.Engine]; !ok {
		detail := fmt.Sprintf("this gateway has no engine %q: configure it, or choose another one", a.Engine)
		return a, notReadyError{detail: detail, retryAfter: configRetryDelay}
	}
	_, err = d.o.Connector.Connect(ctx, a.AccountID)
	switch {
	case errors.Is(err, autobuild.ErrUnauthorized):
		detail := "the linked account's access ended: link it again under Settings → Source providers"
		return a, notReadyError{detail: detail, retryAfter: configRetryDelay}
	case errors.Is(err, autobuild.ErrNotFound):
		detail := "the linked account was removed: choose another one for the automated build"
		return a, notReadyError{detail: detail, retryAfter: configRetryDelay}
	case err != nil:
		return a, fmt.Errorf("connect the account of build %d: %w", b.Number, err)
	}
	return a, nil
}

// cancelRemoved cancels a build whose automated build was deleted. Such a build was planned during the
// deletion or retried after it, and would stay queued forever.
func (d *Dispatcher) cancelRemoved(ctx context.Context, b autobuild.Build) error {
	_, err := d.o.Store.CancelBuild(ctx, b.ID, autobuild.ReasonRemoved, errRemoved.Error())
	if err != nil && !errors.Is(err, autobuild.ErrConflict) {
		return fmt.Errorf("end build %d: %w", b.Number, err)
	}
	return nil
}

// checkRestore handles a build that a restored backup has as unfinished. The build waits until the refs of its
// repository were read, and ends if its ref has moved: else it would move tags back to an older image. It also ends if
// the refs cannot be read for maxRestoreWait.
func (d *Dispatcher) checkRestore(ctx context.Context, b autobuild.Build) (ended bool, err error) {
	after, err := d.o.Store.AfterRestore(ctx, b)
	switch {
	case err != nil:
		return false, err
	case after.Moved:
		return true, d.endRestored(ctx, b, fmt.Sprintf(
			"a backup was restored, and %s %s has a newer push: retry the build if it is wanted",
			b.Ref.Kind, b.Ref.Name))
	case after.Unpolled && after.Waited > maxRestoreWait && d.o.Now().Sub(d.started) > minRestoreUptime:
		return true, d.endRestored(ctx, b, "a backup was restored, and the branches and tags of its repository could "+
			"not be read for a day: check that the repository exists and that its linked account reads it, "+
			"and retry the build if it is wanted")
	case after.Unpolled:
		const detail = "The build waits until the refs of its repository are read after a restore. " +
			"If this lasts, check the gateway's log (poll failed)."
		return false, d.postpone(ctx, b, notReadyError{detail: detail, retryAfter: restoreRetryDelay})
	}
	return false, nil
}

// endRestored cancels a build of a restored backup.
func (d *Dispatcher) endRestored(ctx context.Context, b autobuild.Build, detail string) error {
	_, err := d.o.Store.CancelBuild(ctx, b.ID, autobuild.ReasonRestored, detail)
	if err != nil && !errors.Is(err, autobuild.ErrConflict) {
		return fmt.Errorf("end build %d: %w", b.Number, err)
	}
	logctx.Log(ctx, d.o.Log).Info("build ended: " + detail)
	return nil
}

// postpone shows err on the build's page as the reason why the build waits. It returns a snooze of
// the task for a notReadyError, and any other error unchanged, which makes the queue retry the task.
func (d *Dispatcher) postpone(ctx context.Context, b autobuild.Build, err error) error {
	var notReady notReadyError
	isNotReady := errors.As(err, &notReady)
	detail := notReady.detail
	if !isNotReady {
		detail = "it cannot be started yet: " + err.Error()
	}
	if err := d.explain(ctx, b, notReady.reason, detail); err != nil {
		return err
	}
	if !isNotReady {
		return err
	}
	return queue.Snooze(notReady.retryAfter)
}

// explain stores and logs why a build waits, if that is news. The log has waits for a place at the
// level debug, because they are normal and frequent.
func (d *Dispatcher) explain(ctx context.Context, b autobuild.Build, reason autobuild.Reason, detail string) error {
	if b.Detail == detail && b.Reason == reason {
		return nil
	}
	log := logctx.Log(ctx, d.o.Log).Info
	if reason == autobuild.ReasonCapacity {
		log = logctx.Log(ctx, d.o.Log).Debug
	}
	log("build waits: " + detail)
	if err := d.o.Store.ExplainBuild(ctx, b.ID, reason, detail); err != nil {
		return fmt.Errorf("store the reason why build %d waits: %w", b.Number, err)
	}
	return nil
}
