package autobuild

// A Push is the content of one delivery. It is a hint: the gateway acts on it only after the
// provider's API confirmed it.
type Push struct {
	Event      string // the event key: repo:push, repo:refs_changed, pullrequest:created, …
	Repository Repository
	Changes    []Change
	Skipped    []string // entries that are not changes, one line each
	Ignored    string   // why the whole event is ignored; empty means it is not
}

// An Action is the kind of a change.
type Action string

// The actions. The first three are of refs, the others of pull requests.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Deleted   Action = "deleted"
	Opened    Action = "opened"
	Closed    Action = "closed"
	Commented Action = "commented"
)

// A Change is one ref that a push created, updated or deleted, or one pull request event.
type Change struct {
	Kind    RefKind
	Name    string // for a pull request: its id
	Action  Action
	Old     string // hash before; empty if created or unknown
	Commit  string // hash after; empty if deleted
	Message string // the head commit's message; empty if the payload has none

	// For pull requests only.
	Source, Target string // branch names
	Fork           bool   // the source branch is in another repository, or in one that was deleted

	// Paths are the changed paths, if they were requested. nil means unknown: rules with paths then
	// build.
	Paths []string
}

// Ref returns the ref that changed.
func (c Change) Ref() Ref { return Ref{Kind: c.Kind, Name: c.Name} }

// Internal reports whether the change is a pull request from a branch of the repository itself. Only people
// with write access can push to this branch.
func (c Change) Internal() bool { return c.Kind == PullRequest && !c.Fork }
