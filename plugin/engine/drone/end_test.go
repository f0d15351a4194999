package drone

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// The records are those of a real Drone, which has one status for all ends that are no result: killed.
func TestTheCauseOfAnEnd(t *testing.T) {
	limit := pipeline.Timeout{CI: "Drone", Repository: "acme/builder", Theirs: time.Minute, Ours: time.Hour}
	for name, c := range map[string]struct {
		record string
		want   autobuild.PipelineState
		detail string
	}{
		"pending":          {`{"status":"pending"}`, autobuild.PipelineQueued, ""},
		"blocked":          {`{"status":"blocked"}`, autobuild.PipelineQueued, ""},
		"waits for others": {`{"status":"waiting_on_dependencies"}`, autobuild.PipelineQueued, ""},
		"running":          {`{"status":"running"}`, autobuild.PipelineRunning, ""},
		"declined":         {`{"status":"declined"}`, autobuild.PipelineCancelled, "declined on Drone"},
		"canceled, and the server ended the steps": {
			`{"status":"killed","version":3,"stages":[{"status":"killed","started":1000,"stopped":1010,
				"steps":[{"status":"killed","exit_code":130}]}]}`,
			autobuild.PipelineCancelled, "canceled on Drone",
		},
		"canceled, and the runner was faster": {
			`{"status":"killed","version":4,"stages":[{"status":"killed","started":1000,"stopped":1010,
				"steps":[null,{"status":"killed","exit_code":137}]}]}`,
			autobuild.PipelineCancelled, "canceled on Drone",
		},
		"canceled before a runner took it": {
			`{"status":"killed","version":2,"stages":[{"status":"skipped","started":1000,"stopped":1000}]}`,
			autobuild.PipelineCancelled, "before a runner took it",
		},
		"canceled without stages": {`{"status":"killed"}`, autobuild.PipelineCancelled, "before a runner took it"},
		"the repository's timeout": {
			`{"status":"killed","version":3,"stages":[{"status":"killed","started":1000,"stopped":1060,
				"steps":[{"status":"killed","exit_code":137}]}]}`,
			autobuild.PipelineTimedOut, "at the timeout of acme/builder there, 1 minute; a build may take 1h0m0s",
		},
		"the runner ended it": {
			`{"status":"killed","version":3,"stages":[{"status":"killed","machine":"node-7","started":1000,
				"stopped":1010,"steps":[{"status":"killed","exit_code":137}]}]}`,
			autobuild.PipelineGone, "the Drone runner on node-7 that ran the pipeline was stopped or restarted",
		},
		"the runner could not run it": {
			`{"status":"error","stages":[{"status":"error","error":"pod evicted\nnow","started":1000,"stopped":1001}]}`,
			autobuild.PipelineGone, "Drone could not run the pipeline: pod evicted now",
		},
		"the server could not run it": {
			`{"status":"error","error":"yaml: line 1"}`, autobuild.PipelineGone, "Drone could not run the pipeline: yaml: line 1",
		},
		"success": {
			`{"status":"success","stages":[{"status":"success","started":1000,"stopped":1060}]}`,
			autobuild.PipelineGone, "",
		},
		"failure": {
			`{"status":"failure","stages":[{"status":"failure","started":1000,"stopped":1010}]}`,
			autobuild.PipelineGone, "",
		},
		"skipped": {`{"status":"skipped"}`, autobuild.PipelineGone, ""},
	} {
		var b drone.Build
		must.Succeed(t, json.Unmarshal([]byte(c.record), &b))
		got := statusOf(&b, limit)
		if got.State != c.want {
			t.Errorf("%s: got state %s, want %s", name, got.State, c.want)
		}
		if !strings.Contains(got.Detail, c.detail) || c.detail == "" && got.Detail != "" {
			t.Errorf("%s: got detail %q, want %q", name, got.Detail, c.detail)
		}
	}
}
