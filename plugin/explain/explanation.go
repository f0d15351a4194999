package explain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/catalog/rulesfile"
	"slipway/plugin/rules"
)

// An explanation is the output of the command. Its lists are never null.
type explanation struct {
	Event      string     `json:"event"`
	Repository repository `json:"repository"`
	Changes    []change   `json:"changes"`
	Skipped    []string   `json:"skipped"`
	Ignored    string     `json:"ignored"`
}

// A repository has a uuid on Bitbucket Cloud and an id on Bitbucket Data Center.
type repository struct {
	UUID     *string     `json:"uuid,omitempty"`
	ID       json.Number `json:"id,omitempty"`
	FullName string      `json:"full_name"`
}

type change struct {
	Kind      autobuild.RefKind    `json:"kind"`
	Name      string               `json:"name"`
	Action    autobuild.Action     `json:"action"`
	Commit    string               `json:"commit"`
	Source    *string              `json:"source,omitempty"`
	Target    *string              `json:"target,omitempty"`
	Fork      *bool                `json:"fork,omitempty"`
	Decisions []autobuild.Decision `json:"decisions"`
}

func explanationOf(kind autobuild.ProviderKind, push autobuild.Push, documents []rulesfile.Document) explanation {
	e := explanation{
		Event:      push.Event,
		Repository: repositoryOf(kind, push.Repository),
		Changes:    []change{},
		Skipped:    append([]string{}, push.Skipped...),
		Ignored:    push.Ignored,
	}
	for _, c := range push.Changes {
		e.Changes = append(e.Changes, changeOf(c, decisions(c, push.Repository, documents)))
	}
	return e
}

func repositoryOf(kind autobuild.ProviderKind, r autobuild.Repository) repository {
	if kind == autobuild.DataCenter {
		return repository{ID: json.Number(r.ID), FullName: r.FullName}
	}
	return repository{UUID: &r.ID, FullName: r.FullName}
}

func changeOf(c autobuild.Change, ds []autobuild.Decision) change {
	out := change{Kind: c.Kind, Name: c.Name, Action: c.Action, Commit: c.Commit, Decisions: ds}
	if c.Kind == autobuild.PullRequest {
		out.Source, out.Target, out.Fork = &c.Source, &c.Target, &c.Fork
	}
	return out
}

// decisions evaluates every rule of every document in file order. A rule without an id gets its
// index in the file as its name. With several documents, rules for another repository build
// nothing. The repository of a single document is ignored, so that users can try out its rules.
func decisions(c autobuild.Change, r autobuild.Repository, documents []rulesfile.Document) []autobuild.Decision {
	all := []autobuild.Decision{}
	place := 0
	for _, d := range documents {
		ds := rules.Evaluate(c, d.Build)
		for i := range ds {
			if d.Build.Rules[i].ID == "" {
				ds[i].Rule = strconv.Itoa(place + i)
			}
			if len(documents) > 1 && otherRepository(d, r) {
				ds[i] = autobuild.Decision{
					Rule: ds[i].Rule,
					Tags: []string{},
					Reason: fmt.Sprintf(
						"the rule is for %s, the payload is about %s",
						d.Build.Repository.FullName,
						r.FullName,
					),
				}
			}
		}
		place += len(d.Build.Rules)
		all = append(all, ds...)
	}
	return all
}

func otherRepository(d rulesfile.Document, r autobuild.Repository) bool {
	name := d.Build.Repository.FullName
	return name != "" && !strings.EqualFold(name, r.FullName)
}
