package autobuild

import (
	"net/http"
	"time"
)

// DeliveryState says what became of a delivery.
type DeliveryState string

// received → planned, ignored (understood, nothing to do), refused (not for this hook)
// or failed (not understood, or given up).
const (
	DeliveryReceived DeliveryState = "received"
	DeliveryPlanned  DeliveryState = "planned"
	DeliveryIgnored  DeliveryState = "ignored"
	DeliveryRefused  DeliveryState = "refused"
	DeliveryFailed   DeliveryState = "failed"
)

// A Delivery is one webhook request whose signature was valid, as received.
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
	Outcomes   []Outcome // one per change, once planned
	PlannedAt  time.Time
}

// An Outcome is what one change came to: every rule's answer, and the builds made.
type Outcome struct {
	Change  Change       `json:"change"`
	Refused string       `json:"refused,omitempty"` // why no rule was asked: already seen, moved on, gone
	Rules   []RuleAnswer `json:"rules,omitempty"`
}

// A RuleAnswer is a decision within its automated build, with the build it made.
type RuleAnswer struct {
	AutomatedBuildID string   `json:"automated_build"`
	Decision         Decision `json:"decision"`
	BuildNumber      int64    `json:"build_number,omitempty"`
}

// A Transition is one accepted move of a ref: from the head we knew to the head the
// provider confirmed.
type Transition struct {
	Repository Repository
	Ref        Ref
	Old        string // the head we knew; empty = none
	New        string // empty = deleted
}

// A RefState is the last head of a ref that was accepted.
type RefState struct {
	Head string // empty = deleted
	Seq  int64  // rises with each accepted transition
}

// A Plan is what the planner decided about one delivery or poll, stored in one transaction.
type Plan struct {
	DeliveryID string     // empty for a poll
	Repository Repository // whose refs it is about; empty when no change was looked at
	State      DeliveryState
	Reason     string
	Moves      []Move
	Refused    []Outcome // changes that moved nothing
}

// A Move is one transition with its decisions and the builds to make. Ref sequence
// numbers and build ids are given by the store.
type Move struct {
	Transition Transition
	Outcome    Outcome
	Builds     []Build // in the order of Outcome.Rules entries that build
}
