package autobuild

import "time"

// State is where a build, or one attempt of it, stands.
type State string

// queued → starting → running → one of the four final states.
// Failed is the repository's doing; Error is ours, and is retried.
const (
	Queued    State = "queued"
	Starting  State = "starting"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Errored   State = "error"
)

// Final reports whether nothing follows s within an attempt.
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

// Advances reports whether (attempt, state) may follow (fromAttempt, from): states are
// ordered by attempt, then by rank, and never go back. A final state is followed only
// by a further attempt.
func Advances(fromAttempt int, from State, attempt int, to State) bool {
	if attempt != fromAttempt {
		return attempt > fromAttempt
	}
	return to.rank() > from.rank()
}

// Reason says why a build ended as it did; Detail of the build says it in a sentence.
type Reason string

// The reasons of final states.
const (
	ReasonUser           Reason = "user"       // somebody cancelled it
	ReasonSuperseded     Reason = "superseded" // a newer build of the ref holds the tag
	ReasonTimeout        Reason = "timeout"
	ReasonOOM            Reason = "oom"
	ReasonLost           Reason = "lost" // the runner went silent
	ReasonCommitGone     Reason = "commit_gone"
	ReasonInfrastructure Reason = "infrastructure" // registry, builder, provider or engine failed
	ReasonBuild          Reason = "build"          // the Dockerfile failed
	ReasonHook           Reason = "hook"           // a build hook failed
	ReasonTest           Reason = "test"
	ReasonConfig         Reason = "config"  // rule, Dockerfile path or credential is wrong
	ReasonRemoved        Reason = "removed" // its automated build was deleted
)

// Cause says what a build was made for.
type Cause string

// The causes. Manual and trigger carry an idempotency key of their own.
const (
	CausePush        Cause = "push"
	CauseReconcile   Cause = "reconcile"
	CauseManual      Cause = "manual"
	CauseTrigger     Cause = "trigger"
	CauseBaseImage   Cause = "base_image"
	CausePullRequest Cause = "pull_request"
)

// MaxAttempts bounds the attempts that Slipway itself makes of a build that ends in error.
const MaxAttempts = 3

// MaxInterrupted takes its place for an attempt that ended with the gateway that ran it: no
// fault of the build, unless builds are what ends gateways.
const MaxInterrupted = 10

// A Build is one rule applied to one transition of a ref. A push's build is unique by
// (RuleID, Ref, Seq).
type Build struct {
	ID               string
	Number           int64 // counts all builds of the installation; what people and URLs say
	AutomatedBuildID string
	RuleID           string
	Repository       Repository
	Ref              Ref
	Seq              int64 // the ref's transition number; 0 where there was none
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
	Cause            Cause
	CauseKey         string // idempotency key of manual and trigger builds
	CausedBy         string // a user's or token's name, for people
	DeliveryID       string // empty when no delivery caused it

	State   State
	Reason  Reason
	Detail  string
	Attempt int    // the newest attempt; 0 while none started
	Tries   int    // attempts that count since the build was last asked for
	Digest  string // sha256:…, of the pushed image
	Size    int64  // bytes, compressed

	ReceivedAt time.Time // when the push was safe here; queue time counts from it
	RetriedAt  time.Time // when a person last asked for a retry; zero = never
	CreatedAt  time.Time
	StartedAt  time.Time // the runner's claim of the newest attempt
	FinishedAt time.Time
	Stages     []Stage // of the newest attempt, in order
}

// AskedAt is when the build was last asked for: by its push, or by a person who retried it.
func (b Build) AskedAt() time.Time {
	if b.RetriedAt.After(b.ReceivedAt) {
		return b.RetriedAt
	}
	return b.ReceivedAt
}

// MaxExtraTags bounds the extra tags of a build.
const MaxExtraTags = 100

// An ExtraTag is a tag of the build's image that its rule does not name: its runner asked for it, as
// for a build hook that pushes.
type ExtraTag struct {
	Tag     string `json:"tag"`
	Pushed  bool   `json:"pushed,omitempty"`  // the runner reported that it moved
	Problem string `json:"problem,omitempty"` // the runner's report of why it did not
}

// An Attempt is one run of a build's pipeline on an engine.
type Attempt struct {
	BuildID     string
	BuildNumber int64
	DeliveryID  string // of the build; empty when no delivery caused it
	Number      int    // from 1
	Engine      string
	EngineRef   string // the engine's own name of the pipeline
	Gateway     string // the process that started it
	State       State
	Reason      Reason
	Detail      string
	RunnerID    string // of the runner that claimed it
	Digest      string // built, not yet necessarily pushed
	EventSeq    int64  // the last event recorded
	CreatedAt   time.Time
	ClaimedAt   time.Time
	HeartbeatAt time.Time
	Deadline    time.Time
	FinishedAt  time.Time
}

// A Stage is one station of the runner with its time.
type Stage struct {
	Name       string    `json:"name"` // fetch, build, test, push, …
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Detail     string    `json:"detail,omitempty"` // as "9 of 12 steps cached"
}

// A LogEnd is where the log of an attempt stands, in bytes.
type LogEnd struct {
	Size    int64 // of the whole log
	Own     int64 // of it, the gateway's own lines, which do not count in a runner's offsets
	MidLine bool  // the last line has no end yet
}

// A LogAddition is what is to be written at the end of a log.
type LogAddition struct {
	Data []byte
	Own  int64 // bytes of it that are the gateway's own
}
