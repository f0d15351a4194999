package autobuild

import "time"

// A ProviderKind is an edition of Bitbucket.
type ProviderKind string

// The editions, as the rules file and `slipway explain` name them.
const (
	Cloud      ProviderKind = "bitbucket-cloud"
	DataCenter ProviderKind = "bitbucket-datacenter"
)

// A Workspace groups repositories. On Data Center it is a project.
type Workspace struct {
	ID   string // Cloud: uuid with braces
	Slug string
}

// A Repository is one repository at a source provider. ID identifies it; its name can change.
type Repository struct {
	ProviderID    string
	ID            string // Cloud: uuid with braces; Data Center: decimal id
	WorkspaceID   string // Cloud: uuid with braces of its workspace
	FullName      string // acme/app, or PROJ/slug
	DefaultBranch string // empty for an empty repository
	Private       bool
	Admin         bool // the account may administer it; false if unknown
}

// A RefKind is the kind of a ref.
type RefKind string

// The kinds. A pull request is not a ref of git, but `slipway explain` reports it as one.
const (
	Branch      RefKind = "branch"
	Tag         RefKind = "tag"
	PullRequest RefKind = "pull_request"
)

// A Ref is a branch or a tag by its short name.
type Ref struct {
	Kind RefKind
	Name string
}

// Full returns the full name: refs/heads/… or refs/tags/….
func (r Ref) Full() string {
	if r.Kind == Tag {
		return "refs/tags/" + r.Name
	}
	return "refs/heads/" + r.Name
}

// A Commit is the commit that a ref points to. Annotated tags are peeled.
type Commit struct {
	Hash    string // 40 hex
	Message string
	Author  string // display name; must not be used for decisions
	Date    time.Time
}

// A Head is a ref with the commit that it points to.
type Head struct {
	Ref    Ref
	Commit Commit
}
