package woodpecker

import (
	"slipway/plugin/engine/pipeline"
)

// event is Woodpecker's event name for pipelines that are started by API.
const event = "manual"

// A repo is a repository in the API and in requests to the extensions. The requests to the extensions
// have the same fields, of which only the name is used.
type repo struct {
	ID              int64    `json:"id"`
	ForgeRemoteID   string   `json:"forge_remote_id"`
	FullName        string   `json:"full_name"`
	DefaultBranch   string   `json:"default_branch"`
	Active          bool     `json:"active"`
	Timeout         int64    `json:"timeout"` // minutes; 0 = 60
	CancelPrevious  []string `json:"cancel_previous_pipeline_events"`
	ConfigEndpoint  string   `json:"config_extension_endpoint"`
	ConfigExclusive bool     `json:"config_extension_exclusive"`
	SecretEndpoint  string   `json:"secret_extension_endpoint"`
}

// A cancelInfo names who or what canceled a pipeline. Woodpecker sends none if an agent ended the
// pipeline, at its timeout or because the agent stops.
type cancelInfo struct {
	ByUser       string `json:"canceled_by_user"`
	SupersededBy int64  `json:"superseded_by"`
	ByStep       string `json:"canceled_by_step"`
}

// A run is a pipeline in the API and in requests to the extensions.
type run struct {
	Number    int64             `json:"number"`
	Author    string            `json:"author"` // login of the user who started it by API
	Event     string            `json:"event"`
	Status    string            `json:"status"`
	Started   int64             `json:"started"`  // Unix time; 0 = no agent has taken it
	Finished  int64             `json:"finished"` // Unix time
	Canceled  cancelInfo        `json:"cancel_info"`
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
