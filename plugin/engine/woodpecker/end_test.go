package woodpecker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// The records are those of a real Woodpecker. Only a person's decision cancels a build.
func TestTheCauseOfAnEnd(t *testing.T) {
	limit := pipeline.Timeout{CI: "Woodpecker", Repository: "acme/builder", Theirs: time.Minute, Ours: time.Hour}
	for name, c := range map[string]struct {
		record string
		want   autobuild.PipelineState
		detail string
	}{
		"created": {`{"status":"created"}`, autobuild.PipelineQueued, ""},
		"pending": {`{"status":"pending"}`, autobuild.PipelineQueued, ""},
		"blocked": {`{"status":"blocked"}`, autobuild.PipelineQueued, ""},
		"running": {`{"status":"running","started":1000}`, autobuild.PipelineRunning, ""},
		"a person canceled it": {
			`{"status":"killed","started":1000,"finished":1100,"cancel_info":{"canceled_by_user":"alice"}}`,
			autobuild.PipelineCancelled, "canceled on Woodpecker by alice",
		},
		"a person canceled it before it started": {
			`{"status":"canceled","cancel_info":{"canceled_by_user":"alice"}}`,
			autobuild.PipelineCancelled, "canceled on Woodpecker by alice",
		},
		"a person declined it": {`{"status":"declined"}`, autobuild.PipelineCancelled, "declined on Woodpecker"},
		"a newer pipeline canceled it": {
			`{"status":"killed","started":1000,"finished":1001,"cancel_info":{"superseded_by":18}}`,
			autobuild.PipelineGone, "pipeline 18 of acme/builder canceled this one: remove manual from",
		},
		"a step canceled it": {
			`{"status":"killed","started":1000,"finished":1001,"cancel_info":{"canceled_by_step":"lint"}}`,
			autobuild.PipelineGone, "step lint of the pipeline failed",
		},
		"the repository's timeout": {
			`{"status":"killed","started":1000,"finished":1060}`,
			autobuild.PipelineTimedOut, "at the timeout of acme/builder there, 1 minute; a build may take 1h0m0s",
		},
		"the timeout, as a failure": {
			`{"status":"failure","started":1000,"finished":1061}`, autobuild.PipelineTimedOut, "1 minute",
		},
		"the agent got SIGTERM": {
			`{"status":"killed","started":1000,"finished":1030}`,
			autobuild.PipelineGone, "agent that ran the pipeline was stopped or restarted",
		},
		"success":          {`{"status":"success","started":1000,"finished":1060}`, autobuild.PipelineGone, ""},
		"failure":          {`{"status":"failure","started":1000,"finished":1010}`, autobuild.PipelineGone, ""},
		"error":            {`{"status":"error"}`, autobuild.PipelineGone, ""},
		"skipped":          {`{"status":"skipped"}`, autobuild.PipelineGone, ""},
		"new in version 9": {`{"status":"frozen"}`, autobuild.PipelineGone, ""},
	} {
		var r run
		must.Succeed(t, json.Unmarshal([]byte(c.record), &r))
		got := statusOf(r, limit)
		if got.State != c.want {
			t.Errorf("%s: got state %s, want %s", name, got.State, c.want)
		}
		if !strings.Contains(got.Detail, c.detail) || c.detail == "" && got.Detail != "" {
			t.Errorf("%s: got detail %q, want %q", name, got.Detail, c.detail)
		}
	}
}

func TestWhereTheExtensionsAre(t *testing.T) {
	want := extensionsAt("https://slipway.example.com")
	for name, c := range map[string]struct {
		repo repo
		want extensionState
	}{
		"nowhere":      {repo{}, onServer},
		"ours":         {repo{ConfigEndpoint: want.config, SecretEndpoint: want.secret, ConfigExclusive: true}, onOurs},
		"not yet both": {repo{ConfigEndpoint: want.config, ConfigExclusive: true}, onOurOld},
		"not exclusive": {
			repo{ConfigEndpoint: want.config, SecretEndpoint: want.secret}, onOurOld,
		},
		"before a proxy": {
			repo{
				ConfigEndpoint: "http://slipway.example.com:8080" + configPath,
				SecretEndpoint: "http://Slipway.example.com" + secretPath,
			}, onOurOld,
		},
		"another gateway": {
			repo{ConfigEndpoint: "http://other" + configPath, SecretEndpoint: "http://other" + secretPath}, onGateway,
		},
		"another gateway's secrets": {
			repo{ConfigEndpoint: want.config, SecretEndpoint: "http://other" + secretPath, ConfigExclusive: true}, onGateway,
		},
		"another gateway on the host":     {repo{ConfigEndpoint: "https://slipway.example.com/two" + configPath}, onGateway},
		"another program's configuration": {repo{ConfigEndpoint: "https://other/config"}, onAnother},
		"another program's secrets": {
			repo{ConfigEndpoint: want.config, SecretEndpoint: "https://vault/secret", ConfigExclusive: true}, onAnother,
		},
	} {
		if got := want.stateOf(c.repo); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if got := (extensionURLs{}).stateOf(repo{}); got != notOurs {
		t.Errorf("a gateway that sets none: got %d, want %d", got, notOurs)
	}
}
