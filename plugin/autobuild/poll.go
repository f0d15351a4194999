package autobuild

import (
	"context"
	"time"
)

// A MissedPush is a ref whose head at the provider differs from the stored one, without a delivery
// that reports the change.
type MissedPush struct {
	Ref   Ref
	Known RefState // as stored; zero means the ref is new
	Head  Commit   // of the ref at the provider, requested by itself; zero means the ref was deleted
}

// A ReappearedRef is a ref that a poll found again after its deletion, at a commit that a rule built
// for this ref before. The rule does not build it again, because nobody may have pushed it.
type ReappearedRef struct {
	AutomatedBuildID string
	RuleID           string
	Ref              Ref
	Commit           string    // hash
	BuildNumber      int64     // of the newest earlier build
	FoundAt          time.Time // set by the store
}

// FindMissed returns the missed pushes of a hook's repository, in the order in which they are
// planned. The connection belongs to an account that can read the repository.
type FindMissed func(ctx context.Context, c Connection, hook Hook) ([]MissedPush, error)

// HeadsByRef indexes the commits of heads by their refs.
func HeadsByRef(heads []Head) map[Ref]Commit {
	commits := make(map[Ref]Commit, len(heads))
	for _, h := range heads {
		commits[h.Ref] = h.Commit
	}
	return commits
}
