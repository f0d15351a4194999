package buildkit

import (
	"context"
	"maps"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"golang.org/x/sync/errgroup"
)

// runFrontend runs the Dockerfile frontend, which prints the warnings of the first platform only. For example, a
// base image may have no other platform than the first, and then its programs are in the images of all. So
// runFrontend converts the Dockerfile for each further platform again, meanwhile and without running a step,
// which prints the warnings of that platform.
func runFrontend(
	ctx context.Context,
	c gateway.Client,
	platforms []string,
	evaluate bool,
) (*gateway.Result, error) {
	options := c.BuildOpts().Opts
	var result *gateway.Result
	group, running := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		result, err = c.Solve(running, gateway.SolveRequest{
			Frontend:    FrontendDockerfile,
			FrontendOpt: options,
			Evaluate:    evaluate,
		})
		return err
	})
	for i := 1; i < len(platforms); i++ {
		group.Go(func() error {
			_, err := c.Solve(running, gateway.SolveRequest{
				Frontend:    FrontendDockerfile,
				FrontendOpt: onlyPlatform(options, platforms[i]),
			})
			if err != nil && strings.Contains(err.Error(), lintViolation) {
				return err
			}
			return nil // the run above returns any other error too
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return result, nil
}

// lintViolation is the text of the frontend's error if the Dockerfile makes warnings errors (# check=error=true).
const lintViolation = "lint violation found"

// onlyPlatform returns the options of a build for one platform, without attestations.
func onlyPlatform(options map[string]string, platform string) map[string]string {
	only := maps.Clone(options)
	only["platform"] = platform
	only["multi-platform"] = "true" // so that the steps have the same names as in the whole build
	maps.DeleteFunc(only, func(name, _ string) bool { return strings.HasPrefix(name, "attest:") })
	return only
}
