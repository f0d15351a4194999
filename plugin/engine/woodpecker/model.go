package woodpecker

import (
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// event is Woodpecker's event name for pipelines that are started by API.
const event = "manual"

// A repo is a repository in the API and in requests to the extensions.
type repo struct {
	ID            int64  `json:"id"`
	ForgeRemoteID string `json:"forge_remote_id"`
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
	Active        bool   `json:"active"`
}

// A run is a pipeline in the API and in requests to the extensions.
type run struct {
	Number    int64             `json:"number"`
	Author    string            `json:"author"` // login of the user who started it by API
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

// state converts a status of Woodpecker.
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

// of reports whether the user with this login started the pipeline for the attempt in p.
func (r run) of(login string, p pipeline.Params) bool {
	params, ok := pipeline.ReadParams(r.Variables)
	return ok && r.Event == event && r.Author == login && params.Of(p.BuildID, p.Attempt)
}

// faults returns Woodpecker's errors without the warnings.
func (r run) faults() []string {
	var all []string
	for _, e := range r.Errors {
		if !e.IsWarning {
			all = append(all, e.Message)
		}
	}
	return all
}

// neverStarted reports whether Woodpecker has not created the pipeline, or failed to: none of its
// steps ever ran. Such a pipeline keeps its number. If the server failed (500, for example because
// SQLite was locked), the status stays created. Otherwise it changes to pending within moments.
func (r run) neverStarted() bool {
	return r.Status == "created" || (r.Status == "error" && len(r.faults()) > 0)
}

// isForeign reports whether the workflows are known and ours is not among them.
func (r run) isForeign() bool {
	for _, w := range r.Workflows {
		if w.Name == workflowName {
			return false
		}
	}
	return len(r.Workflows) > 0
}
