package autobuild

import "time"

// An Overview counts the work of the installation: what waits, since when, and what needs an
// administrator. It contains no name of a repository.
type Overview struct {
	Unplanned Backlog   // deliveries that wait for the planner
	Queued    []Backlog // queued builds, by Engine
	Active    []Backlog // attempts that are not final, by Engine and State
	Tasks     []TaskCount
	Refused   int // builds whose newest status Bitbucket rejected
	Hooks     []HookCount
	Accounts  map[AccountState]int
	// Registries counts the registries whose credential passed its last check.
	Registries int
	// Failing counts the registries whose credential failed its last check.
	Failing int
}

// A Backlog counts the waiting or active work in one place.
type Backlog struct {
	Engine string // empty for deliveries, and for builds of a deleted automated build
	State  State
	Count  int
	// Oldest is the earliest time of the counted work: a delivery was received, a build requested, an
	// attempt created or claimed. It is zero if Count is 0.
	Oldest time.Time
	// Stranded counts the part of Count that has no task. It is 0 unless a task was lost.
	Stranded int
}

// A TaskCount counts the tasks of one kind and state: waiting, running or dead.
type TaskCount struct {
	Kind, State string
	Count       int
	Oldest      time.Time // creation of the oldest task
	// Due is the earliest due time of waiting tasks; it is far in the future if all of them wait for
	// other tasks of their lanes. For running tasks it is the end of the first lease.
	Due time.Time
}

// A HookCount counts the hooks of one state.
type HookCount struct {
	State       HookState
	Count       int
	Problems    int       // hooks with a problem
	NeverPolled int       // hooks whose refs were never polled
	Polled      time.Time // the oldest last poll of the other hooks; zero if all were never polled
}
