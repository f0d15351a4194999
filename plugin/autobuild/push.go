package autobuild

// A Push is what one delivery says happened. It is a hint: nothing of it is believed
// before the provider's API confirms it.
type Push struct {
	Event      string // the event key: repo:push, repo:refs_changed, pullrequest:created, …
	Repository Repository
	Changes    []Change
	Skipped    []string // entries that are no changes, a line each
	Ignored    string   // why the whole event is none of ours; empty otherwise
}

// Action says what happened to a ref or a pull request.
type Action string

// The actions of refs (first three) and of pull requests.
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
	Old     string // hash before; empty when created or not told
	Commit  string // hash after; empty when deleted
	Message string // the head commit's message, where the payload has it

	// Of pull requests only.
	Source, Target string // branch names
	Fork           bool

	// Paths that changed, where they were asked for; nil = unknown, and unknown builds.
	Paths []string
}

// Ref returns the ref that changed.
func (c Change) Ref() Ref { return Ref{Kind: c.Kind, Name: c.Name} }
