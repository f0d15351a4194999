package autobuild

import "time"

// GatewayLease is the prefix of the name of the lease that each live gateway holds. The gateway's
// name follows.
const GatewayLease = "gateway/"

// A BuildFilter selects builds, newest first. Zero fields select all builds.
type BuildFilter struct {
	AutomatedBuildID string
	DeliveryID       string
	States           []State
	Limit            int   // default 50
	Before           int64 // returns builds with a lower number; for paging
}

// A DeliveryFilter selects deliveries, newest first. Zero fields select all deliveries.
type DeliveryFilter struct {
	HookID string
	Limit  int    // default 50
	Before string // returns deliveries older than the one with this id; for paging
}

// A QueueLength counts the queued builds and the automated builds that share the queue.
type QueueLength struct {
	Waiting       int // queued builds of all automated builds
	OthersWaiting int // queued builds of other automated builds than the given one
	Owners        int // automated builds that have builds in the queue
	OwnActive     int // builds of the given automated build that are starting or running
}

// A Report is the commit status of a build that was last sent to the provider.
type Report struct {
	Attempt int
	State   State
	Problem string // why the provider rejected it; empty means the provider accepted it
	At      time.Time
}

// An EventRecord is the progress that a runner reported for an attempt.
type EventRecord struct {
	Seq    int64
	Stages []Stage // all stages known so far; nil means unchanged
	Digest string  // of the built image; empty means unchanged
}

// A Finish ends an attempt.
type Finish struct {
	BuildID string
	Attempt int
	State   State // final
	Reason  Reason
	Detail  string
	Digest  string
	Size    int64 // in bytes
	// Tags are the build's tags that the runner reported, pushed or not. ExtraTags are the
	// results of all other tags.
	Tags      []string
	ExtraTags []ExtraTag
	Retry     bool // queues the build for a further attempt, if MaxAttempts allows, instead of ending it
	// Unstarted marks an attempt that created no pipeline. It does not count toward
	// MaxAttempts, and the build is queued again without a limit.
	Unstarted bool
	// Interrupted marks an attempt that ended with the gateway that ran it. MaxInterrupted
	// limits the number of attempts then.
	Interrupted bool
	// NoSpace marks an attempt that ended because the disk of an engine on this machine has no space for the build's
	// cache. It does not count toward MaxAttempts. The build is queued again without a limit, with ReasonSpace.
	NoSpace bool
}

// An AfterRestore is the effect of a restored backup on a build that the backup has as unfinished.
type AfterRestore struct {
	// Unpolled means that the refs of its repository were not read since the restore. The ref may have moved after the
	// backup, and the build would move its tags back.
	Unpolled bool
	Waited   time.Duration // since the first start of a gateway after the restore, if Unpolled
	Moved    bool          // a newer transition of its ref is known
}
