package autobuild

import "time"

// An AutomatedBuildFilter selects a page of the automated builds, sorted by repository and image. Zero fields
// select the first page of all of them.
type AutomatedBuildFilter struct {
	Search string  // part of the repository's full name or of the image, in lower or upper case
	States []State // of the newest build
	After  string  // id of the automated build before the page; an unknown id selects the first page
	Before string  // id of the automated build after the page; ignored with After
	Limit  int     // default 50
}

// An AutomatedBuildPage is a page of a list of automated builds.
type AutomatedBuildPage struct {
	Rows     []ListedAutomatedBuild
	Previous bool // there is a page before this one
	Next     bool // there is a page after this one
}

// A ListedAutomatedBuild is an automated build in a list. It has no rules and no environment.
type ListedAutomatedBuild struct {
	ID       string
	FullName string // of its repository
	Image    string
	Stopped  string         // why its account cannot be used (Account.Stopped)
	Hook     HookState      // of its repository; empty means no webhook
	Builds   []BuildSummary // its newest builds, newest first
}

// ListedBuilds is the largest number of builds of a ListedAutomatedBuild.
const ListedBuilds = 12

// A BuildSummary is the part of a build that a list of automated builds shows.
type BuildSummary struct {
	Number     int64
	State      State
	Ref        Ref
	ReceivedAt time.Time
	StartedAt  time.Time
	FinishedAt time.Time
}

// A BareAutomatedBuild is an automated build without its rules and its environment.
type BareAutomatedBuild struct {
	ID         string
	AccountID  string
	Repository Repository
	Image      string
	Engine     string
}

// A BareFilter selects bare automated builds. Zero fields select all of them.
type BareFilter struct {
	AccountID string
	Image     string
}
