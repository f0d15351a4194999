package webhook

import "fmt"

// readRefsChanged reads Data Center's repo:refs_changed. It ignores the date, because version 10
// changed its format.
// Source: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html#Eventpayload-Push
func readRefsChanged(root object, e *Event) error {
	e.Repository = repositoryOf(root.get("repository"))
	changes, more, err := root.get("changes").list(MaxChanges)
	if err != nil {
		return err
	}
	commitInfo := readCommitInfo(root, len(changes)+more == 1)
	for _, n := range changes {
		c, skipped, err := refChange(n.object(), commitInfo)
		if err != nil {
			return err
		}
		e.add(n.path, c, skipped)
	}
	e.addOmitted(more)
	return nil
}

// readMirrorSync reads the event of a mirror that fetched refs. If it fetched too many, the event
// lists none of them.
func readMirrorSync(root object, e *Event) error {
	if root.get("refLimitExceeded").isTrue() {
		e.Skipped = append(e.Skipped, "refLimitExceeded: more refs changed than the event lists")
	}
	return readRefsChanged(root, e)
}

// commitInfo holds the information about commits in a delivery, apart from their hashes.
type commitInfo struct {
	messages map[string]string
	peeled   string // the commit of the tag in a delivery with one change; empty if unknown
}

// readCommitInfo reads commits and toCommit, which versions since 2024 send. toCommit belongs to
// one change without naming it. So it is used for a tag only if the delivery has a single change.
func readCommitInfo(root object, single bool) commitInfo {
	h := commitInfo{messages: map[string]string{}}
	commits, _, err := root.get("commits").list(MaxChanges)
	if err != nil {
		commits = nil
	}
	for _, n := range append(commits, root.get("toCommit")) {
		o := n.object()
		if id := o.get("id").hashOrNone(); id != "" {
			h.messages[id] = o.get("message").textOrNone()
		}
	}
	if single {
		h.peeled = root.get("toCommit").object().get("id").hashOrNone()
	}
	return h
}

// refChange reads one entry of changes. The toHash of an annotated tag is the hash of the tag
// object.
func refChange(o object, h commitInfo) (c Change, skipped string, err error) {
	if o.err != nil {
		return Change{}, "", o.err
	}
	c.Kind, c.Name, skipped, err = refOf(o)
	if err != nil || skipped != "" {
		return Change{}, skipped, err
	}
	c.Action, err = refAction(o.get("type"))
	if err != nil {
		return Change{}, "", err
	}
	c.Old = o.get("fromHash").hashOrNone()
	if c.Action == Deleted {
		return c, "", nil
	}
	c.Commit, err = o.get("toHash").hash()
	if err != nil {
		return Change{}, "", err
	}
	if c.Kind == Tag && h.peeled != "" {
		c.Commit = h.peeled
	}
	c.Message = h.messages[c.Commit]
	return c, "", nil
}

func refOf(o object) (kind Kind, name, skipped string, err error) {
	id := o.get("ref").object().get("id")
	if id.isNull() && !o.get("refId").isNull() {
		id = o.get("refId")
	}
	full, err := id.text()
	if err != nil {
		return "", "", "", err
	}
	kind, name = splitRef(full)
	switch {
	case kind == "":
		return "", "", fmt.Sprintf("%.100q is no branch and no tag", full), nil
	case !validRefName(name):
		return "", "", fmt.Sprintf("%.100q is no name that git allows", full), nil
	}
	return kind, name, "", nil
}

func refAction(n node) (Action, error) {
	s, err := n.text()
	if err != nil {
		return "", err
	}
	switch s {
	case "ADD":
		return Created, nil
	case "UPDATE":
		return Updated, nil
	case "DELETE":
		return Deleted, nil
	}
	return "", n.fault("none of ADD, UPDATE and DELETE")
}
