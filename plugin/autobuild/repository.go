package autobuild

import "time"

// ProviderKind names a flavour of Bitbucket.
type ProviderKind string

// The two flavours, as the rules file and explain spell them.
const (
	Cloud      ProviderKind = "bitbucket-cloud"
	DataCenter ProviderKind = "bitbucket-datacenter"
)

// A Workspace groups repositories: a workspace of Cloud, a project of Data Center.
type Workspace struct {
	ID   string // Cloud: uuid with braces
	Slug string
}

// A Repository is one repository at a source provider. ID is its identity; names change.
type Repository struct {
	ProviderID    string
	ID            string // Cloud: uuid with braces; Data Center: decimal id
	WorkspaceID   string // Cloud: uuid with braces of its workspace
	FullName      string // acme/app, or PROJ/slug
	DefaultBranch string // empty for an empty repository
	Private       bool
	Admin         bool // the account may administer it; known only where the provider said so
}

// RefKind says what a ref is.
type RefKind string

// The kinds of refs; a pull request is none of git's, but explain reports it as one.
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

// A Commit is what a ref points at, peeled.
type Commit struct {
	Hash    string // 40 hex
	Message string
	Author  string // display name; never an authority
	Date    time.Time
}

// A Head is a ref with the commit it points at.
type Head struct {
	Ref    Ref
	Commit Commit
}
