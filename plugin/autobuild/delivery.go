package autobuild

import (
	"net/http"
	"time"
)

// A DeliveryState is the state of a delivery.
type DeliveryState string

// The states: received, then planned, ignored (valid, but nothing to do), refused (not for this
// webhook) or failed (invalid, or given up after retries).
const (
	DeliveryReceived DeliveryState = "received"
	DeliveryPlanned  DeliveryState = "planned"
	DeliveryIgnored  DeliveryState = "ignored"
	DeliveryRefused  DeliveryState = "refused"
	DeliveryFailed   DeliveryState = "failed"
)

// A Delivery is one received webhook request with a valid signature.
type Delivery struct {
	ID         string
	HookID     string
	Event      string // X-Event-Key
	RequestID  string // X-Request-UUID or X-Request-Id
	Header     http.Header
	Body       []byte
	ReceivedAt time.Time
	State      DeliveryState
	Reason     string
	Outcomes   []Outcome // one per change; set when planned
	PlannedAt  time.Time
}

// An Outcome is the result of one change: the decision of every rule, with its build.
type Outcome struct {
	Change  Change         `json:"change"`
	Refused string         `json:"refused,omitempty"` // why no rule builds it: already seen, outdated, deleted or a pull request
	Rules   []RuleDecision `json:"rules,omitempty"`
}

// A RuleDecision is the decision of a rule of an automated build, and the build it created.
type RuleDecision struct {
	AutomatedBuildID string   `json:"automated_build"`
	Decision         Decision `json:"decision"`
	BuildNumber      int64    `json:"build_number,omitempty"`
}

// A Transition is one accepted move of a ref, from the last known head to the head that the
// provider confirmed.
type Transition struct {
	Repository Repository
	Ref        Ref
	Old        string // the last known head; empty means none
	New        string // empty means deleted
}

// A RefState is the last accepted head of a ref.
type RefState struct {
	Head string // empty means deleted
	Seq  int64  // rises with each accepted transition
	// Gap reports that the ref had heads within the last hour that no delivery reported in order: a
	// poll found one, or a delivery's change began at another commit. Late deliveries may report them.
	Gap bool
}

// MaxPollWait is the age from which a delivery that is not planned makes no poll wait.
const MaxPollWait = time.Hour

// A Plan holds the planner's decisions about one delivery or poll. It is stored in one transaction.
type Plan struct {
	DeliveryID string // empty for a poll
	// PolledHook is the id of a poll's hook, and empty for a delivery. Its deliveries that are younger than
	// MaxPollWait must be planned first, because a poll sees only the last of several pushes to a ref.
	PolledHook string
	Repository Repository // the repository of the refs; empty if no change was evaluated
	State      DeliveryState
	Reason     string
	Moves      []Move
	Refused    []Outcome // changes that moved no ref
	Reappeared []ReappearedRef
}

// A Move is one transition with its decisions and the builds to create. The store assigns the build
// ids, and the ref's sequence number if Seq is 0.
type Move struct {
	Transition Transition
	Seq        int64 // the number that the transition must get; 0 means any
	Gap        bool  // a gap of the ref begins; see RefState
	Outcome    Outcome
	Builds     []Build // in the order of the entries of Outcome.Rules that build
}
