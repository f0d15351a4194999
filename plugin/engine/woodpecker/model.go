package woodpecker

import (
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// event is what Woodpecker calls pipelines that are started by API.
const event = "manual"

// A repo is a repository as the API and the extensions' requests have it.
type repo struct {
	ID            int64  `json:"id"`
	ForgeRemoteID string `json:"forge_remote_id"`
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
	Active        bool   `json:"active"`
}

// A run is a pipeline as the API and the extensions' requests have it.
type run struct {
	Number    int64             `json:"number"`
	Author    string            `json:"author"` // the login of who started it by API
	Event     string            `json:"event"`
	Status    string            `json:"status"`
	Variables map[string]string `json:"variables"`
	Errors    []struct {
		Message   string `json:"message"`
		IsWarning bool   `json:"is_warning"`
	} `json:"errors"`
	Workflows []struct {
		Name     string `json:"name"`
		Error    string `json:"error"`
		Children []struct {
			ID       int64  `json:"id"`
			Name     string `json:"name"`
			Error    string `json:"error"`
			ExitCode int    `json:"exit_code"`
		} `json:"children"`
	} `json:"workflows"`
}

// state says in our words where a pipeline is.
// https://woodpecker-ci.org/docs/usage/terminology (status values)
func (r run) state() autobuild.PipelineState {
	switch r.Status {
	case "created", "pending", "blocked":
		return autobuild.PipelineQueued
	case "running":
		return autobuild.PipelineRunning
	case "killed", "canceled", "declined":
		return autobuild.PipelineCancelled
	}
	return autobuild.PipelineGone // success, failure, error, skipped
}

// of reports whether a user started it for that attempt.
func (r run) of(login string, p pipeline.Params) bool {
	theirs, ok := pipeline.ReadParams(r.Variables)
	return ok && r.Event == event && r.Author == login && theirs.Of(p.BuildID, p.Attempt)
}

// faults are the errors that Woodpecker gives, without warnings.
func (r run) faults() []string {
	var all []string
	for _, e := range r.Errors {
		if !e.IsWarning {
			all = append(all, e.Message)
		}
	}
	return all
}

// neverBegan reports whether Woodpecker could not make it, or has not yet: no step of it ever
// ran. Such a pipeline keeps its number. One that its server failed to make (500, as when
// SQLite is locked) stays created for ever; one under way is pending within moments.
func (r run) neverBegan() bool {
	return r.Status == "created" || (r.Status == "error" && len(r.faults()) > 0)
}

// isNotOurs reports whether its workflows are known, and ours is not among them.
func (r run) isNotOurs() bool {
	for _, w := range r.Workflows {
		if w.Name == workflowName {
			return false
		}
	}
	return len(r.Workflows) > 0
}
