package woodpecker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"slipway/plugin/engine/pipeline"
)

// Inspect checks the server with read-only requests.
func (e *Engine) Inspect(ctx context.Context) []pipeline.Finding {
	all := []pipeline.Finding{e.inspectVersion(ctx), e.inspectToken(ctx)}
	if e.o.Repository != "" {
		all = append(all, e.inspectRepository(ctx)...)
	}
	return append(
		all,
		e.requestLog.Finding(
			"config",
			"is WOODPECKER_CONFIG_EXTENSION_ENDPOINT set on the server, and this gateway among "+
				"WOODPECKER_EXTENSIONS_ALLOWED_HOSTS?",
		),
		e.requestLog.Finding("secret", "is WOODPECKER_SECRET_EXTENSION_ENDPOINT set on the server?"),
	)
}

// inspectVersion also compares the clocks, because signatures are valid for minutes only.
func (e *Engine) inspectVersion(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "server"}
	a, err := e.client.call(ctx, callTimeout, http.MethodGet, "/version", nil)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	var reply struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(a.body, &reply); err != nil || reply.Version == "" {
		f.Problem = fmt.Sprintf("%s is not a Woodpecker server: check SLIPWAY_WOODPECKER_SERVER", e.o.Server)
		return f
	}
	clockProblem := pipeline.ClockProblem(a.date, e.o.Now())
	switch {
	case pipeline.Older(reply.Version, 3, 14):
		f.Problem = fmt.Sprintf(
			"version %s is too old for the secret extension: upgrade to 3.14 or later",
			reply.Version,
		)
	case clockProblem != "":
		f.Problem = clockProblem
	default:
		f.Good = fmt.Sprintf("Woodpecker %s at %s, its clock is right", reply.Version, e.o.Server)
	}
	return f
}

func (e *Engine) inspectToken(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "token"}
	login, err := e.client.Login(ctx)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	f.Good = "is " + login + "'s"
	return f
}

// inspectRepository checks the builder repository and its settings.
func (e *Engine) inspectRepository(ctx context.Context) []pipeline.Finding {
	r, err := e.client.repo(ctx, e.o.Repository)
	if err != nil {
		return []pipeline.Finding{{
			Subject: "builder repository",
			Problem: err.Error() + ": create it at Bitbucket, with one commit, and activate it on Woodpecker",
		}}
	}
	return append([]pipeline.Finding{e.inspectPermission(ctx, r)}, e.inspectSettings(r)...)
}

func (e *Engine) inspectPermission(ctx context.Context, r repo) pipeline.Finding {
	f := pipeline.Finding{Subject: "builder repository"}
	var perm struct {
		Push bool `json:"push"`
	}
	if err := e.client.get(ctx, fmt.Sprintf("/api/repos/%d/permissions", r.ID), &perm); err != nil {
		f.Problem = fmt.Sprintf("permissions of our user in %s: %v", r.FullName, err)
	} else if !perm.Push {
		f.Problem = fmt.Sprintf("our user cannot push to %s and therefore cannot start pipelines: "+
			"give it write access at Bitbucket", r.FullName)
	} else {
		f.Good = fmt.Sprintf("%s is active, and our user can start pipelines on %s", r.FullName, r.DefaultBranch)
	}
	return f
}
