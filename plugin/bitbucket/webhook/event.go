// Package webhook reads what Bitbucket sends: Verify checks a delivery's signature over its
// raw bytes, Parse turns its body into an Event. Both are pure.
//
// Payloads vary by version, plugin and the age of an account, so only what a decision needs
// is required; a fault in that names its place, as push.changes[3].new.target.hash. Nothing
// of an Event is to be believed before the provider's API confirms it.
//
// Sources: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/ and
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
package webhook

import (
	"errors"
	"fmt"
)

// Flavour says whose payloads are read.
type Flavour string

// The two flavours.
const (
	Cloud      Flavour = "cloud"
	DataCenter Flavour = "datacenter"
)

// MaxBody is the largest body of the flavour that is read: Cloud sends nothing above 256 KB,
// Data Center has no such bound.
func (f Flavour) MaxBody() int {
	if f == DataCenter {
		return 10 << 20
	}
	return 1 << 20
}

// MaxChanges is how many changes of one delivery are read; the rest are counted in Skipped.
const MaxChanges = 1000

// ErrTooLarge says that the body is larger than Flavour.MaxBody.
var ErrTooLarge = errors.New("the payload is too large")

// Kind says what a change is about.
type Kind string

// The kinds of changes.
const (
	Branch      Kind = "branch"
	Tag         Kind = "tag"
	PullRequest Kind = "pull_request"
)

// Action says what happened to it.
type Action string

// The actions of refs (first three) and of pull requests.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Deleted   Action = "deleted"
	Opened    Action = "opened"
	Closed    Action = "closed"    // merged, declined or deleted
	Commented Action = "commented" // talked about or reviewed; the code is the same
)

// An Event is one delivery, normalised.
type Event struct {
	Event      string // the event key
	Repository Repository
	Changes    []Change
	Skipped    []string // entries that are no changes, a line each
	Ignored    string   // why the whole event is none of ours; empty otherwise
}

// A Repository is the one that the delivery says it is about. Any field may be empty: old
// payloads lack ids.
type Repository struct {
	UUID     string // Cloud, with braces
	ID       string // Data Center, decimal
	FullName string // acme/app, or PROJ/slug
}

// A Change is one ref that moved, or one pull request event.
type Change struct {
	Kind    Kind
	Name    string // short name; of a pull request its id
	Action  Action
	Old     string // 40 hex; empty when created or not told
	Commit  string // 40 hex, or what a pull request has (Cloud: 12 hex, or empty when gone); empty when deleted
	Message string // the head commit's, where the payload has it

	Source, Target string // of pull requests: short names
	Fork           bool   // of pull requests: the source is another repository, or gone
}

// Parse reads the body of a delivery with the event key given. Keys that are not ours give
// an Event with Ignored set, whatever the body is. Safe for concurrent use.
func Parse(flavour Flavour, eventKey string, body []byte) (Event, error) {
	if len(body) > flavour.MaxBody() {
		return Event{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, len(body), flavour.MaxBody())
	}
	e := Event{Event: eventKey}
	read, ignored := readerOf(flavour, eventKey)
	root := node{raw: body}.object()
	if ignored != "" {
		e.Ignored = ignored
		e.Repository = repositoryOf(root.get("repository"))
		return e, nil
	}
	if root.err != nil {
		return Event{}, root.err
	}
	if err := read(root, &e); err != nil {
		return Event{}, err
	}
	return e, nil
}

// readerOf chooses the reader of an event key, or says why the event is ignored.
func readerOf(flavour Flavour, key string) (read func(object, *Event) error, ignored string) {
	if action, ok := pullRequestActions(flavour)[key]; ok {
		return pullRequestReader(flavour, action), ""
	}
	switch {
	case key == "repo:push":
		return readPush, "" // of Cloud, and of Data Center's old post-webhooks plugin
	case flavour == DataCenter && key == "repo:refs_changed":
		return readRefsChanged, ""
	case flavour == DataCenter && key == "mirror:repo_synchronized":
		return readMirrorSync, ""
	case flavour == DataCenter && key == "diagnostics:ping":
		return nil, "diagnostics:ping tests the connection and tells nothing else"
	case key == "":
		return nil, "the delivery has no event key"
	}
	return nil, fmt.Sprintf("%.100q is no event that changes a ref or a pull request", key)
}

func repositoryOf(n node) Repository {
	o := n.object()
	r := Repository{UUID: o.get("uuid").textOrNone(), ID: o.get("id").digitsOrNone(), FullName: o.get("full_name").textOrNone()}
	project, slug := o.get("project").object().get("key").textOrNone(), o.get("slug").textOrNone()
	if r.FullName == "" && project != "" && slug != "" {
		r.FullName = project + "/" + slug
	}
	return r
}
