// Package webhook reads Bitbucket's deliveries. Verify checks the signature over the raw body,
// and Parse converts the body to an Event. Both have no side effects.
//
// Payloads differ by version, by plugin and by the age of an account. So Parse requires only the
// fields that a decision needs. An error in these names its position, for example
// push.changes[3].new.target.hash. Do not trust an Event before the provider's API confirms it.
//
// Sources: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/ and
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
package webhook

import (
	"bytes"
	"errors"
	"fmt"
)

// Flavor is the kind of Bitbucket that sent a payload.
type Flavor string

// The two flavors.
const (
	Cloud      Flavor = "cloud"
	DataCenter Flavor = "datacenter"
)

// MaxBody returns the maximum size of a body in bytes. Cloud sends at most 256 KB. Data Center
// has no limit of its own.
func (f Flavor) MaxBody() int {
	if f == DataCenter {
		return 10 << 20
	}
	return 1 << 20
}

// MaxChanges is the maximum number of changes that are read from one delivery. Event.Skipped has
// the number of the others.
const MaxChanges = 1000

// ErrTooLarge is returned for a body larger than Flavor.MaxBody.
var ErrTooLarge = errors.New("the payload is too large")

// Kind is the kind of object that a change is about.
type Kind string

// The kinds of changes.
const (
	Branch      Kind = "branch"
	Tag         Kind = "tag"
	PullRequest Kind = "pull_request"
)

// Action is the effect of a change.
type Action string

// The actions of refs (first three) and of pull requests.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Deleted   Action = "deleted"
	Opened    Action = "opened"
	Closed    Action = "closed"    // merged, declined or deleted
	Commented Action = "commented" // commented or reviewed; the code is unchanged
)

// An Event is one normalized delivery.
type Event struct {
	Event      string // the event key
	Repository Repository
	Changes    []Change
	Skipped    []string // entries that are not changes, with one line each
	Ignored    string   // why Slipway does not use the event; else empty
}

// A Repository is the repository named in the delivery. Any field may be empty, because old
// payloads have no ids.
type Repository struct {
	UUID     string // Cloud, with braces
	ID       string // Data Center, decimal
	FullName string // acme/app, or PROJ/slug
}

// A Change is one moved ref, or one pull request event.
type Change struct {
	Kind    Kind
	Name    string // short name of the ref, or id of the pull request
	Action  Action
	Old     string // 40 hex digits; empty if created or unknown
	Commit  string // 40 hex digits; for Cloud's pull requests 12, or empty if the commit is gone; empty if deleted
	Message string // message of the head commit, if the payload has it

	Source, Target string // of pull requests: short names
	Fork           bool   // for pull requests: the source is another or a deleted repository
}

// byteOrderMark begins payloads that were saved on Windows. JSON parsers may ignore it.
// Source: https://www.rfc-editor.org/rfc/rfc8259#section-8.1
const byteOrderMark = "\ufeff"

// Parse parses the body of a delivery with this event key. For an event key that Slipway does not
// use, it returns an Event with Ignored set, for any body. Parse is safe for concurrent
// use.
func Parse(flavor Flavor, eventKey string, body []byte) (Event, error) {
	if len(body) > flavor.MaxBody() {
		return Event{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, len(body), flavor.MaxBody())
	}
	e := Event{Event: eventKey}
	read, ignored := readerOf(flavor, eventKey)
	root := node{raw: bytes.TrimPrefix(body, []byte(byteOrderMark))}.object()
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

// readerOf returns the reader of an event key, or the reason why the event is ignored.
func readerOf(flavor Flavor, key string) (read func(object, *Event) error, ignored string) {
	if action, ok := pullRequestActions(flavor)[key]; ok {
		return pullRequestReader(flavor, action), ""
	}
	switch {
	case key == "repo:push":
		return readPush, "" // sent by Cloud, and by Data Center's old post-webhooks plugin
	case flavor == DataCenter && key == "repo:refs_changed":
		return readRefsChanged, ""
	case flavor == DataCenter && key == "mirror:repo_synchronized":
		return readMirrorSync, ""
	case flavor == DataCenter && key == "diagnostics:ping":
		return nil, "diagnostics:ping only tests the connection"
	case key == "":
		return nil, "the delivery has no event key"
	}
	return nil, fmt.Sprintf("%.100q is no event that changes a ref or a pull request", key)
}

func repositoryOf(n node) Repository {
	o := n.object()
	r := Repository{UUID: o.get("uuid").textOrNone(), ID: o.get("id").digitsOrNone(),
		FullName: o.get("full_name").textOrNone()}
	project, slug := o.get("project").object().get("key").textOrNone(), o.get("slug").textOrNone()
	if r.FullName == "" && project != "" && slug != "" {
		r.FullName = project + "/" + slug
	}
	return r
}
