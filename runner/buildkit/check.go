package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/subrequests/lint"
)

// The options and results of a request to the Dockerfile frontend that builds nothing.
// Source: https://github.com/moby/buildkit/blob/v0.34.2/docs/reference/buildctl.md, frontend/subrequests
const (
	optRequest     = "requestid"
	optCaps        = "frontend.caps"
	capSubrequests = "moby.buildkit.frontend.subrequests" // a frontend image without it fails, and builds nothing
	resultText     = "result.txt"
	resultJSON     = "result.json"
	resultStatus   = "result.statuscode"
)

// errChecks is the error of a Dockerfile with warnings or errors of the checks.
var errChecks = errors.New("the checks of the Dockerfile found problems")

// check runs the checks of the Dockerfile frontend, and logs its warnings. It returns a *BuildError if there
// are warnings. The image is always empty.
// https://docs.docker.com/build/checks/
func (c *Client) check(ctx context.Context, r Request) (Image, error) {
	solving, cancel := context.WithCancel(ctx)
	defer cancel()
	sent, err := r.openDirs(cancel)
	if err != nil {
		return Image{}, fmt.Errorf("check: %w", err)
	}
	options, err := r.solveOptions(sent)
	if err != nil {
		return Image{}, fmt.Errorf("check: %w", err)
	}
	options.SharedKey = r.SharedKey // the checks need no file that this key keeps
	options.Exports, options.CacheExports, options.Internal = nil, nil, true
	options.FrontendAttrs[optRequest] = lint.RequestLint
	options.FrontendAttrs[optCaps] = capSubrequests
	found := map[string][]byte{}
	out := newProgress(r.Progress)
	_, err = c.run(solving, out, func() (*client.SolveResponse, error) {
		return c.bk.Build(solving, options, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
			result, err := c.Solve(
				ctx,
				gateway.SolveRequest{Frontend: FrontendDockerfile, FrontendOpt: c.BuildOpts().Opts},
			)
			if err != nil {
				return nil, err
			}
			found = result.Metadata
			return gateway.NewResult(), nil
		}, out.status)
	})
	if err != nil || sent.unread() != nil {
		return Image{}, c.explain(ctx, r, err, sent, out)
	}
	return Image{}, r.reportChecks(found)
}

// reportChecks logs the warnings of the checks.
func (r Request) reportChecks(found map[string][]byte) error {
	if text := strings.TrimSpace(string(found[resultText])); text != "" {
		r.logLine("%s", text)
	}
	var results lint.LintResults
	if r.Progress != nil && json.Unmarshal(found[resultJSON], &results) == nil {
		results.PrintErrorTo(r.Progress, nil)
	}
	switch status := string(found[resultStatus]); {
	case status == "0":
		r.logLine("the checks of the Dockerfile found no problem")
		return nil
	case status == "" && len(found[resultJSON]) == 0:
		return errors.New(
			"the builder's frontend has no checks: use BuildKit 0.15 or newer, or remove the line # syntax=",
		)
	}
	return &BuildError{Err: errChecks}
}
