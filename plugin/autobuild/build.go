package autobuild

import (
	"fmt"
	"time"
)

// A State is the state of a build, or of one attempt.
type State string

// The states: queued, starting, running, then one of the four final states. Failed is caused by the
// repository. Errored is caused by Slipway or the infrastructure, and is retried.
const (
	Queued    State = "queued"
	Starting  State = "starting"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Errored   State = "error"
)

// Final reports whether s is the last state of an attempt.
func (s State) Final() bool { return s.rank() == 3 }

func (s State) rank() int {
	switch s {
	case Queued:
		return 0
	case Starting:
		return 1
	case Running:
		return 2
	case Succeeded, Failed, Cancelled, Errored:
		return 3
	}
	return -1
}

// Advances reports whether (attempt, to) may follow (fromAttempt, from). States are ordered by
// attempt, then by rank, and never go back. Only a further attempt can follow a final state.
func Advances(fromAttempt int, from State, attempt int, to State) bool {
	if attempt != fromAttempt {
		return attempt > fromAttempt
	}
	return to.rank() > from.rank()
}

// A Reason is the cause of a final state. The Detail of the build explains it.
type Reason string

// The reasons of final states.
const (
	ReasonUser           Reason = "user"       // a user cancelled it
	ReasonSuperseded     Reason = "superseded" // a newer build of the ref holds the tag
	ReasonTimeout        Reason = "timeout"
	ReasonOOM            Reason = "oom"
	ReasonDisk           Reason = "disk" // the disk of the build is full
	ReasonLost           Reason = "lost" // the runner stopped reporting
	ReasonCommitGone     Reason = "commit_gone"
	ReasonInfrastructure Reason = "infrastructure" // registry, builder, provider or engine failed
	ReasonBuild          Reason = "build"          // the Dockerfile failed
	ReasonHook           Reason = "hook"           // a build hook failed
	ReasonTest           Reason = "test"
	ReasonConfig         Reason = "config"  // rule, Dockerfile path or credential is wrong
	ReasonRemoved        Reason = "removed" // its automated build was deleted
	// ReasonRestored: a backup was restored that has the build as unfinished, and its ref has moved since, or could
	// not be read. It may have ended in the meantime, so its commit status stays as it is.
	ReasonRestored Reason = "restored"
)

// ReasonCapacity is the reason of a queued build that waits only for a place on its engine (Limits).
const ReasonCapacity Reason = "capacity"

// ReasonSpace is the reason of an attempt that ended because the builder's disk has no space for the build's cache, and
// then of the queued build until it has.
const ReasonSpace Reason = "space"

// A Cause is the event that created a build.
type Cause string

// The causes. Manual and trigger builds have an idempotency key.
const (
	CausePush        Cause = "push"
	CauseReconcile   Cause = "reconcile"
	CauseManual      Cause = "manual"
	CauseTrigger     Cause = "trigger"
	CauseBaseImage   Cause = "base_image"
	CausePullRequest Cause = "pull_request"
)

// MaxAttempts is the largest number of automatic attempts of a build that ends in error.
const MaxAttempts = 3

// MaxInterrupted replaces MaxAttempts for an attempt that ended because its gateway stopped. That is
// not a fault of the build, but it is bounded in case the build is what stops the gateway.
const MaxInterrupted = 10

// A Build is one rule applied to one transition of a ref. The build of a push is unique by
// (RuleID, Ref, Seq).
type Build struct {
	ID               string
	Number           int64 // counts all builds of the installation; used in pages and URLs
	AutomatedBuildID string
	RuleID           string
	Repository       Repository
	Ref              Ref
	Seq              int64 // the ref's transition number; 0 if there is none
	Commit           Commit
	Image            string // registry/name, without a tag
	Tags             []string
	ExtraTags        []ExtraTag // granted to the build's runner; at most MaxExtraTags, in the order of the permits
	Dockerfile       string
	Context          string
	BuildArgs        map[string]string
	Platforms        []string
	Caching          bool
	Publish          bool
	Internal         bool // of a pull request: Change.Internal. false = of a fork, or unknown
	Cause            Cause
	CauseKey         string // idempotency key of manual and trigger builds
	CausedBy         string // the name of a user or token, for the pages
	DeliveryID       string // empty if no delivery caused it

	State   State
	Reason  Reason
	Detail  string
	Attempt int    // the newest attempt; 0 before the first
	Tries   int    // attempts that count toward MaxAttempts, since the last request
	Digest  string // sha256:…, of the pushed image
	Size    int64  // bytes, compressed

	ReceivedAt time.Time // when the push was stored; start of the queue time
	RetriedAt  time.Time // when a user last requested a retry; zero means never
	CreatedAt  time.Time
	StartedAt  time.Time // when the runner claimed the newest attempt
	FinishedAt time.Time
	Stages     []Stage // of the newest attempt, in order
}

// AskedAt returns the time of the last request for the build: its push, or a user's retry.
func (b Build) AskedAt() time.Time {
	if b.RetriedAt.After(b.ReceivedAt) {
		return b.RetriedAt
	}
	return b.ReceivedAt
}

// CheckRetry returns a *RefusedError unless the build may get a further attempt: it has failed, ended with an
// error or was cancelled. A success is final, so the same commit is built again by a new build.
func (b Build) CheckRetry() error {
	switch {
	case !b.State.Final():
		return &RefusedError{fmt.Sprintf("Build %d has not ended, so it cannot be retried.", b.Number)}
	case b.State == Succeeded:
		return &RefusedError{fmt.Sprintf(
			"Build %d has succeeded, so it is not retried. Choose Rebuild to build its commit again.", b.Number)}
	}
	return nil
}

// MaxExtraTags is the largest number of extra tags of a build.
const MaxExtraTags = 100

// An ExtraTag is a tag of the build's image that is not in its rule. The runner requested it, for
// example for a build hook that pushes.
type ExtraTag struct {
	Tag     string `json:"tag"`
	Pushed  bool   `json:"pushed,omitempty"`  // the runner reported that it pushed the tag
	Problem string `json:"problem,omitempty"` // why the runner did not push the tag
}
