// Package ci reads the CI's description of the commit, the repository and the pipeline of a step. It
// does no I/O: it converts an environment to values, and records the variable of each value.
//
// Drone sets DRONE_*. Woodpecker sets CI_* and most of DRONE_*. If both variables of a value are set,
// DRONE_* is read, as the plugins for both CIs do.
// Sources: https://docs.drone.io/pipeline/environment/reference/,
// https://woodpecker-ci.org/docs/usage/environment
package ci

import (
	"net/url"
	"strings"
)

// The names of the supported CIs.
const (
	Drone      = "drone"
	Woodpecker = "woodpecker"
)

// A Run is one run of a step, as its CI describes it. A value that the CI does not set is empty. No
// value is validated or invented here. The pusher controls refs, names and the message, so callers
// must not trust them.
type Run struct {
	CI string // Drone, Woodpecker, or empty

	Event         string // as the CI names it: push, tag, pull_request, cron, custom, manual, promote, …
	Ref           string // full, for example refs/heads/main; some drivers give only the branch's name
	Commit        string // hash
	CommitLink    string // page of the commit or of the pull request
	Message       string
	Branch        string // target branch of a pull request, else the branch; empty for a tag
	SourceBranch  string // source branch of a pull request
	Tag           string
	PullRequest   string // number of the pull request
	DefaultBranch string // default branch of the repository

	Repository      string // owner/name
	RepositoryOwner string // workspace or project
	RepositoryName  string
	RepositoryLink  string // page of the repository
	RemoteURL       string // clone address, without a credential
	Forge           string // kind of the Git host, for example bitbucket or bitbucket_dc; only Woodpecker sets it
	ForgeURL        string

	PipelineLink   string // page of the pipeline's run
	PipelineNumber string
	Stage          string // pipeline or workflow of the step
	Step           string

	// Origins maps the name of each set field to the variable of its value, for example "Ref" to
	// "DRONE_COMMIT_REF".
	Origins map[string]string
}

// Read reads a run from an environment, a map of names to values. An empty value counts as not set.
func Read(environ map[string]string) Run {
	r := Run{CI: detect(environ), Origins: map[string]string{}}
	for _, row := range r.fields() {
		for _, name := range row.names {
			if value := environ[name]; value != "" {
				*row.to, r.Origins[row.field] = value, name
				break
			}
		}
	}
	r.RemoteURL = withoutCredential(r.RemoteURL)
	r.correctTag()
	return r
}

// detect returns the name of the CI, or "". Woodpecker sets Drone's variables too, but not DRONE.
func detect(environ map[string]string) string {
	switch {
	case environ["CI_SYSTEM_NAME"] == Woodpecker, environ["CI"] == Woodpecker:
		return Woodpecker
	case environ["DRONE"] == "true", environ["DRONE_COMMIT_SHA"] != "", environ["DRONE_COMMIT_REF"] != "":
		return Drone
	}
	return ""
}

// A field is a field of Run and its variables. The first variable that is set has precedence.
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

// correctTag corrects the fields of a run for a Git tag. Woodpecker sets the branch to the tag, and
// Drone sets it to the tag's full ref. Drone sets no tag if a user started the build by hand.
func (r *Run) correctTag() {
	name, isTag := strings.CutPrefix(r.Ref, "refs/tags/")
	if !isTag {
		return
	}
	r.Branch = ""
	delete(r.Origins, "Branch")
	if r.Tag == "" {
		r.Tag, r.Origins["Tag"] = name, r.Origins["Ref"]
	}
}

// withoutCredential removes passwords and tokens from an address, because labels and logs show it. It
// returns "" for a URL that does not parse.
func withoutCredential(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		if strings.Contains(address, "://") {
			return "" // an unparsed URL may contain a credential
		}
		return address // the scp form: host:path
	}
	if u.User == nil {
		return address
	}
	if name := u.User.Username(); strings.HasPrefix(u.Scheme, "http") {
		u.User = nil // in an HTTP URL the user name itself may be a token
	} else {
		u.User = url.User(name)
	}
	return u.String()
}
