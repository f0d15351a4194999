package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	dockerfileversion "github.com/moby/buildkit/frontend/dockerfile/version"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/worker"
	"google.golang.org/grpc/codes"

	"slipway/runner/buildkit"
)

// A frontend converts a Dockerfile to build steps. A frontend image is a foreign program with access
// to the builder's API (CVE-2026-33747). So the built-in frontend serves every version 1 of Docker's frontend
// without a pull: `# syntax=docker/dockerfile:1…`, its channels (labs, experimental, rc) and its digests.
// Another image runs only if the operator allows it.
// https://docs.docker.com/build/buildkit/frontend/
const (
	frontendGateway = "gateway.v0"
	builtinFrontend = "docker.io/docker/dockerfile"
	// upstreamFrontend is the frontend of BuildKit's main branch.
	upstreamFrontend = "docker.io/docker/dockerfile-upstream"
	attrSyntax       = "build-arg:BUILDKIT_SYNTAX"
	attrCmdline      = "cmdline"
	attrSource       = "source"
	attrContext      = "context:"
)

// frontends returns the frontends of a server, each behind the same policy.
func frontends(infos worker.Infos, allowed []string) (map[string]frontend.Frontend, error) {
	policy, err := newFrontendPolicy(allowed)
	if err != nil {
		return nil, err
	}
	all := map[string]frontend.Frontend{
		buildkit.FrontendDockerfile: withOptions{forwarder.NewGatewayForwarder(infos, policy.build)},
	}
	if len(allowed) == 0 {
		return all, nil
	}
	inner, err := gateway.NewGatewayFrontend(infos, allowed)
	if err != nil {
		return nil, fmt.Errorf("allow frontends: %w", err)
	}
	all[frontendGateway] = &guardedGateway{inner: inner, policy: policy}
	return all, nil
}

// withOptions passes a non-nil map of options to a frontend, because the frontend adds options. A client
// without options, such as buildctl with its defaults, sends no map.
type withOptions struct{ frontend.Frontend }

var _ frontend.Frontend = withOptions{}

// Solve implements frontend.Frontend.
func (o withOptions) Solve(
	ctx context.Context,
	llb frontend.FrontendLLBBridge,
	exec executor.Executor,
	opt map[string]string,
	inputs map[string]*pb.Definition,
	sid string,
	sm *session.Manager,
) (*frontend.Result, error) {
	if opt == nil {
		opt = map[string]string{}
	}
	return o.Frontend.Solve(ctx, llb, exec, opt, inputs, sid, sm)
}

// build runs the built-in Dockerfile frontend. It fails if the policy refuses the frontend that the
// Dockerfile or the client names.
func (p frontendPolicy) build(ctx context.Context, c client.Client) (*client.Result, error) {
	opts := c.BuildOpts().Opts
	if _, decided := opts[attrCmdline]; decided {
		return dockerfile.Build(ctx, c)
	}
	ui, err := dockerui.NewClient(c)
	if err != nil {
		return nil, err
	}
	src, err := ui.ReadEntrypoint(ctx, "Dockerfile")
	if err != nil {
		return nil, err
	}
	line, where := opts[attrSyntax], []parser.Range(nil)
	if line == "" {
		_, line, where, _ = parser.DetectSyntax(src.Data)
	}
	ref, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	decision := p.evaluate(ref)
	switch decision.outcome {
	case frontendBuiltin:
		opts[attrCmdline] = line // so that BuildKit does not load the named frontend image
	case frontendRefused:
		return nil, refusal(decision.reason, src, where)
	}
	result, err := dockerfile.Build(ctx, c)
	if decision.warning == "" {
		return result, err
	}
	if err != nil && strings.Contains(err.Error(), parseError) {
		return nil, fmt.Errorf("%w: %s", err, decision.warning)
	}
	src.Warn(ctx, decision.warning, client.WarnOpts{})
	return result, err
}

// parseError is in the error of a Dockerfile with an instruction or a flag that the frontend does not know.
const parseError = "dockerfile parse error"

// refusal returns an error with the reason and the lines of the Dockerfile that cause it.
func refusal(reason string, src *dockerui.Source, where []parser.Range) error {
	err := grpcerrors.WrapCode(fmt.Errorf("%s", reason), codes.FailedPrecondition)
	if len(where) == 0 {
		return err
	}
	ranges := make([]*pb.Range, len(where))
	for i, r := range where {
		ranges[i] = &pb.Range{
			Start: &pb.Position{Line: int32(r.Start.Line)}, //nolint:gosec // a line number
			End:   &pb.Position{Line: int32(r.End.Line)},   //nolint:gosec // a line number
		}
	}
	info := &pb.SourceInfo{Data: src.Data, Filename: src.Filename, Language: src.Language}
	return errdefs.WithSource(err, &errdefs.Source{Info: info, Ranges: ranges})
}

// guardedGateway runs only the frontend images that the operator allowed.
type guardedGateway struct {
	inner  frontend.Frontend
	policy frontendPolicy
}

var _ frontend.Frontend = (*guardedGateway)(nil)

// Solve implements frontend.Frontend.
func (g *guardedGateway) Solve(
	ctx context.Context,
	llb frontend.FrontendLLBBridge,
	exec executor.Executor,
	opt map[string]string,
	inputs map[string]*pb.Definition,
	sid string,
	sm *session.Manager,
) (*frontend.Result, error) {
	v := g.policy.evaluate(opt[attrSource])
	if v.outcome != frontendAllowed {
		return nil, grpcerrors.WrapCode(fmt.Errorf("%s", v.reason), codes.FailedPrecondition)
	}
	if name, ok := findReplacement(opt); ok {
		err := fmt.Errorf(
			"frontend %s may not be replaced by the build context %q: remove that context",
			opt[attrSource],
			name,
		)
		return nil, grpcerrors.WrapCode(err, codes.FailedPrecondition)
	}
	return g.inner.Solve(ctx, llb, exec, opt, inputs, sid, sm)
}

// findReplacement returns the name of a build context that replaces the frontend's image.
func findReplacement(opt map[string]string) (string, bool) {
	source, err := reference.ParseNormalizedNamed(opt[attrSource])
	if err != nil {
		return "", false
	}
	for key := range opt {
		name, ok := strings.CutPrefix(key, attrContext)
		if !ok {
			continue
		}
		plain, _, _ := strings.Cut(name, "::")
		if ref, err := reference.ParseNormalizedNamed(plain); err == nil && ref.Name() == source.Name() {
			return name, true
		}
	}
	return "", false
}

type frontendOutcome int

const (
	frontendRefused frontendOutcome = iota
	frontendBuiltin
	frontendAllowed
)

// A frontendDecision is an outcome and the reason for it. The warning is for the user, and may be empty.
type frontendDecision struct {
	outcome frontendOutcome
	reason  string
	warning string
}

// frontendPolicy decides which frontends may run.
type frontendPolicy struct {
	allowed []reference.Named
	minor   int // newest docker/dockerfile:1.minor that the built-in frontend supports
}

func newFrontendPolicy(allowed []string) (frontendPolicy, error) {
	p := frontendPolicy{minor: builtinMinor(dockerfileversion.Version())}
	for _, name := range allowed {
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return p, fmt.Errorf("allowed frontend %q: %w", name, err)
		}
		p.allowed = append(p.allowed, ref)
	}
	return p, nil
}

// builtinMinor returns the minor number of a version, for example 4 for 1.4.2, or 0 if it has none.
func builtinMinor(version string) int {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return minor
}

// evaluate decides on a frontend image. An empty name means the built-in frontend. The built-in frontend
// also replaces a release that has a digest. Docker promises compatibility within the major version.
func (p frontendPolicy) evaluate(name string) frontendDecision {
	if name == "" {
		return frontendDecision{outcome: frontendBuiltin, reason: "no frontend was named"}
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return frontendDecision{reason: fmt.Sprintf("frontend %q is not an image name: %v", name, err)}
	}
	for _, allowed := range p.allowed {
		if sameImage(allowed, ref) {
			return frontendDecision{outcome: frontendAllowed, reason: "allowed by the operator"}
		}
	}
	served := frontendDecision{outcome: frontendBuiltin, reason: "served by the built-in frontend"}
	switch p.compare(ref) {
	case frontendKnown:
		return served
	case frontendNewer:
		served.warning = fmt.Sprintf("%s is served by the built-in frontend, docker/dockerfile:1.%d; "+
			"a newer feature may be missing", name, p.minor)
		return served
	}
	return frontendDecision{reason: fmt.Sprintf(
		"frontend %s is not allowed: this builder has docker/dockerfile:1 up to 1.%d built in; remove the \"# syntax=\" line, or have the operator allow the image (SLIPWAY_BUILDER_FRONTENDS)",
		name,
		p.minor,
	)}
}

// sameImage reports whether ref is the allowed image. If the allowed name has no tag and no digest,
// any version matches, else only the same one.
func sameImage(allowed, ref reference.Named) bool {
	if reference.IsNameOnly(allowed) {
		return allowed.Name() == ref.Name()
	}
	return allowed.String() == ref.String()
}

// A frontendVersion is what a name of Docker's frontend asks for, compared with the built-in one.
type frontendVersion int

const (
	frontendForeign frontendVersion = iota // another image, or another major version
	frontendKnown                          // a release with nothing that the built-in frontend lacks
	frontendNewer                          // a release, or a channel, that may have more
)

// compare compares a frontend with the built-in one, which has the features of every channel up to its
// version: labs, experimental and upstream. A channel without a number may have more, and so may a digest.
// The release channels "1" and "latest" count as known: Docker promises compatibility there.
func (p frontendPolicy) compare(ref reference.Named) frontendVersion {
	upstream := ref.Name() == upstreamFrontend
	if ref.Name() != builtinFrontend && !upstream {
		return frontendForeign
	}
	tagged, ok := ref.(reference.Tagged)
	switch {
	case !ok && reference.IsNameOnly(ref) && !upstream:
		return frontendKnown
	case !ok:
		return frontendNewer
	}
	number, channel, _ := strings.Cut(tagged.Tag(), "-")
	if number == "latest" && !upstream {
		return frontendKnown
	}
	parts := strings.Split(number, ".")
	major, err := strconv.Atoi(parts[0])
	switch {
	case err != nil: // a channel: labs, experimental, master
		return frontendNewer
	case major != 1:
		return frontendForeign
	case len(parts) == 1 && channel == "" && !upstream:
		return frontendKnown
	case len(parts) == 1:
		return frontendNewer
	}
	minor, err := strconv.Atoi(parts[1])
	switch {
	case err != nil || len(parts) > 3:
		return frontendForeign
	case minor > p.minor:
		return frontendNewer
	}
	return frontendKnown
}
