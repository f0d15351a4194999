package autobuild

import "context"

// A MissedPush is a ref whose head at the provider differs from the stored one, without a delivery
// that reports the change.
type MissedPush struct {
	Ref   Ref
	Known RefState // as stored; zero means the ref is new
	Head  Commit   // at the provider; zero means the ref was deleted
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
