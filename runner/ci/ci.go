// Package ci reads what a CI tells a step of the commit, the repository and the pipeline that
// it runs for. It is pure: an environment goes in, values with their origins come out.
//
// Drone says it in DRONE_*, Woodpecker in CI_* and, for most, in DRONE_* too. Where both are
// there, DRONE_* is read, as the plugins for either do.
// Sources: https://docs.drone.io/pipeline/environment/reference/,
// https://woodpecker-ci.org/docs/usage/environment
package ci

import (
	"net/url"
	"strings"
)

// The CIs that are told apart by what they set.
const (
	Drone      = "drone"
	Woodpecker = "woodpecker"
)

// A Run is one run of a step, as its CI describes it. What the CI does not say is empty: no
// value is checked or made up here. Refs, names and the message are as whoever pushed wrote
// them.
type Run struct {
	CI string // Drone, Woodpecker, or empty

	Event         string // in the CI's word: push, tag, pull_request, cron, custom, manual, promote, …
	Ref           string // in full, as refs/heads/main; some drivers give a branch's name alone
	Commit        string // hash
	CommitLink    string // its page, or a pull request's
	Message       string
	Branch        string // of a pull request, the one that it would be merged into; empty for a tag
	SourceBranch  string // of a pull request
	Tag           string
	PullRequest   string // number
	DefaultBranch string // of the repository

	Repository      string // owner/name
	RepositoryOwner string // workspace or project
	RepositoryName  string
	RepositoryLink  string // its page
	RemoteURL       string // to clone from, without a credential
	Forge           string // what hosts it, where said: bitbucket, bitbucket_dc, …
	ForgeURL        string

	PipelineLink   string // the run's page
	PipelineNumber string
	Stage          string // the pipeline or workflow that the step is of
	Step           string

	// Origins has for each field that is set, by its name, the variable that it came from.
	Origins map[string]string
}

// Read takes an environment as a map of names to values. An empty value counts as not set.
func Read(environ map[string]string) Run {
	r := Run{CI: which(environ), Origins: map[string]string{}}
	for _, row := range r.fields() {
		for _, name := range row.names {
			if value := environ[name]; value != "" {
				*row.to, r.Origins[row.field] = value, name
				break
			}
		}
	}
	r.RemoteURL = withoutCredential(r.RemoteURL)
	r.straighten()
	return r
}

// which tells the CIs apart: Woodpecker sets Drone's variables too, but not DRONE itself.
func which(environ map[string]string) string {
	switch {
	case environ["CI_SYSTEM_NAME"] == Woodpecker, environ["CI"] == Woodpecker:
		return Woodpecker
	case environ["DRONE"] == "true", environ["DRONE_COMMIT_SHA"] != "", environ["DRONE_COMMIT_REF"] != "":
		return Drone
	}
	return ""
}

// A field is a value and the variables that may hold it, first come, first taken.
type field struct {
	field string
	to    *string
	names []string
}

func (r *Run) fields() []field {
	return []field{
		{"Event", &r.Event, []string{"DRONE_BUILD_EVENT", "CI_PIPELINE_EVENT"}},
		{"Ref", &r.Ref, []string{"DRONE_COMMIT_REF", "CI_COMMIT_REF"}},
		{"Commit", &r.Commit, []string{"DRONE_COMMIT_SHA", "DRONE_COMMIT", "CI_COMMIT_SHA"}},
		{"CommitLink", &r.CommitLink, []string{"DRONE_COMMIT_LINK", "CI_PIPELINE_FORGE_URL"}},
		{"Message", &r.Message, []string{"DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"}},
		{"Branch", &r.Branch, []string{"DRONE_BRANCH", "DRONE_COMMIT_BRANCH", "CI_COMMIT_BRANCH"}},
		{"SourceBranch", &r.SourceBranch, []string{"DRONE_SOURCE_BRANCH", "CI_COMMIT_SOURCE_BRANCH"}},
		{"Tag", &r.Tag, []string{"DRONE_TAG", "CI_COMMIT_TAG"}},
		{"PullRequest", &r.PullRequest, []string{"DRONE_PULL_REQUEST", "CI_COMMIT_PULL_REQUEST"}},
		{"DefaultBranch", &r.DefaultBranch, []string{"DRONE_REPO_BRANCH", "CI_REPO_DEFAULT_BRANCH"}},
		{"Repository", &r.Repository, []string{"DRONE_REPO", "CI_REPO"}},
		{"RepositoryOwner", &r.RepositoryOwner, []string{"DRONE_REPO_NAMESPACE", "DRONE_REPO_OWNER", "CI_REPO_OWNER"}},
		{"RepositoryName", &r.RepositoryName, []string{"DRONE_REPO_NAME", "CI_REPO_NAME"}},
		{"RepositoryLink", &r.RepositoryLink, []string{"DRONE_REPO_LINK", "CI_REPO_URL"}},
		{"RemoteURL", &r.RemoteURL, []string{"DRONE_REMOTE_URL", "DRONE_GIT_HTTP_URL", "CI_REPO_CLONE_URL"}},
		{"Forge", &r.Forge, []string{"CI_FORGE_TYPE"}},
		{"ForgeURL", &r.ForgeURL, []string{"CI_FORGE_URL"}},
		{"PipelineLink", &r.PipelineLink, []string{"DRONE_BUILD_LINK", "CI_PIPELINE_URL"}},
		{"PipelineNumber", &r.PipelineNumber, []string{"DRONE_BUILD_NUMBER", "CI_PIPELINE_NUMBER"}},
		{"Stage", &r.Stage, []string{"DRONE_STAGE_NAME", "CI_WORKFLOW_NAME"}},
		{"Step", &r.Step, []string{"DRONE_STEP_NAME", "CI_STEP_NAME"}},
	}
}

// straighten repairs what the CIs say wrongly of a tag: Woodpecker gives it as the branch too,
// Drone its whole ref, and Drone's tag is missing where a build of it was started by hand.
func (r *Run) straighten() {
	name, isTag := strings.CutPrefix(r.Ref, "refs/tags/")
	if !isTag {
		return
	}
	if r.Branch = ""; r.Tag == "" {
		r.Tag, r.Origins["Tag"] = name, r.Origins["Ref"]
	}
	delete(r.Origins, "Branch")
}

// withoutCredential takes what may be secret out of an address: labels and logs show it.
func withoutCredential(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		if strings.Contains(address, "://") {
			return "" // what cannot be read cannot be cleaned
		}
		return address // the form of scp: host:path
	}
	if u.User == nil {
		return address
	}
	if name := u.User.Username(); strings.HasPrefix(u.Scheme, "http") {
		u.User = nil // by HTTP a user's name alone may be a token
	} else {
		u.User = url.User(name)
	}
	return u.String()
}
