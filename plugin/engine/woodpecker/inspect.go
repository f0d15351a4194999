package woodpecker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"slipway/plugin/engine/pipeline"
)

// maxSkew is how far the two clocks may be apart before it is worth a word.
const maxSkew = 30 * time.Second

// Inspect looks at the server as the engine uses it, without changing anything there.
func (e *Engine) Inspect(ctx context.Context) []pipeline.Finding {
	all := []pipeline.Finding{e.inspectVersion(ctx), e.inspectToken(ctx)}
	if e.o.Repository != "" {
		all = append(all, e.inspectRepository(ctx))
	}
	return append(all,
		e.seen.Finding("config", "is WOODPECKER_CONFIG_EXTENSION_ENDPOINT set on the server, and this gateway among WOODPECKER_EXTENSIONS_ALLOWED_HOSTS?"),
		e.seen.Finding("secret", "is WOODPECKER_SECRET_EXTENSION_ENDPOINT set on the server?"))
}

// inspectVersion also compares the clocks: signatures count for minutes only.
func (e *Engine) inspectVersion(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "server"}
	a, err := e.client.call(ctx, answerTime, http.MethodGet, "/version", nil)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	var told struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(a.body, &told); err != nil || told.Version == "" {
		f.Problem = fmt.Sprintf("%s does not answer as Woodpecker: check SLIPWAY_WOODPECKER_SERVER", e.o.Server)
		return f
	}
	skew := time.Duration(0)
	if !a.date.IsZero() {
		skew = e.o.Now().Sub(a.date).Abs()
	}
	switch {
	case tooOld(told.Version):
		f.Problem = fmt.Sprintf("it is version %s, and the secret extension needs 3.14: upgrade it", told.Version)
	case skew > maxSkew:
		f.Problem = fmt.Sprintf("its clock is %s off ours: its requests will be refused; start a time service on both", skew.Round(time.Second))
	default:
		f.Good = fmt.Sprintf("Woodpecker %s at %s, its clock agrees", told.Version, e.o.Server)
	}
	return f
}

// tooOld reports versions below 3.14; what is no version, as next-…, is taken to be new.
func tooOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, minorErr := strconv.Atoi(parts[1])
	return err == nil && minorErr == nil && (major < 3 || (major == 3 && minor < 14))
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

func (e *Engine) inspectRepository(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "builder repository"}
	r, err := e.client.repo(ctx, e.o.Repository)
	if err != nil {
		f.Problem = err.Error() + ": make it at Bitbucket, with one commit, and activate it there"
		return f
	}
	var perm struct {
		Push bool `json:"push"`
	}
	if err := e.client.get(ctx, fmt.Sprintf("/api/repos/%d/permissions", r.ID), &perm); err != nil {
		f.Problem = fmt.Sprintf("what our user may do in %s is not to be had: %v", r.FullName, err)
	} else if !perm.Push {
		f.Problem = fmt.Sprintf("our user may not push to %s, which starting pipelines needs: give it write access at Bitbucket", r.FullName)
	} else {
		f.Good = fmt.Sprintf("%s is active, and our user may start pipelines on %s", r.FullName, r.DefaultBranch)
	}
	return f
}
