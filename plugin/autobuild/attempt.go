package autobuild

import "time"

// An Attempt is one run of a build's pipeline on an engine.
type Attempt struct {
	BuildID     string
	BuildNumber int64
	DeliveryID  string // of the build; empty if no delivery caused it
	Number      int    // from 1
	Engine      string
	EngineRef   string // the engine's own name of the pipeline
	Gateway     string // the process that started it
	State       State
	Reason      Reason
	Detail      string
	RunnerID    string // of the runner that claimed it
	// RunnerVersion is the version that the runner reported; empty before the claim, and for attempts of
	// gateways that did not store it.
	RunnerVersion string
	Digest        string // built, not yet necessarily pushed
	EventSeq      int64  // the last event recorded
	CreatedAt     time.Time
	ClaimedAt     time.Time
	HeartbeatAt   time.Time
	// Deadline is the end of the attempt's time, which counts from the claim. Before the claim it is the
	// creation plus that time.
	Deadline   time.Time
	FinishedAt time.Time
}

// A Stage is one stage of the runner with its times.
type Stage struct {
	Name       string    `json:"name"` // fetch, build, test, push, …
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Detail     string    `json:"detail,omitempty"` // for example "9 of 12 steps cached"
}

// A LogEnd is the current end of an attempt's log, in bytes.
type LogEnd struct {
	Size    int64 // of the whole log
	Own     int64 // of the gateway's own lines, which do not count in a runner's offsets
	MidLine bool  // the last line is incomplete
}

// A LogAddition is the data to append to a log.
type LogAddition struct {
	Data []byte
	Own  int64 // bytes of Data that are the gateway's own
}

// A RunnerVersion is the version of the runner that last built an automated build on an engine.
type RunnerVersion struct {
	Engine  string
	Version string
	Build   int64 // the number of the build
}
