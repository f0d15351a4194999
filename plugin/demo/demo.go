// Package demo is `slipway demo`. It starts a complete environment on one machine (package localenv),
// links an account through the OAuth pages, creates an automated build, pushes a branch and two tags
// with git, and follows each push to its image and its status.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/demo/sample"
)

// timeout is the maximum time from the first commit to the last check.
const timeout = 5 * time.Minute

// Options configure the demo.
type Options struct {
	Executable string // the slipway binary
	Stderr     io.Writer
}

// A push is one git push of the demo.
type push struct {
	sent time.Time
	refs []string // full names
}

// A scenario is one run of the demo.
type scenario struct {
	env      *localenv.Env
	progress *progress
	browser  *localenv.Browser
	checkout *localenv.Checkout
	pushes   []push
	greeting map[string]string // content of greeting.txt by commit
	report   Report
}

// start starts the environment. The scenario is valid even if it returns an error.
func start(ctx context.Context, o Options) (*scenario, error) {
	s := &scenario{progress: newProgress(o.Stderr), greeting: map[string]string{}}
	s.report.Builds = []BuildReport{} // an empty list in JSON, not null
	s.progress.printf("starting a Bitbucket, a registry and a gateway on this machine")
	env, err := localenv.Start(ctx, localenv.Options{
		Executable: o.Executable,
		// The demo has one automated build. Without the setting, its two tags would build one after the other.
		Environment: []string{"SLIPWAY_CONCURRENCY_PER_BUILD=2"},
		BeforeGateway: func(ctx context.Context, env *localenv.Env) ([]string, error) {
			socket, stop, err := ensureService(ctx, o.Executable, env.Registry, o.Stderr)
			if err != nil {
				return nil, err
			}
			env.OnClose(stop)
			return []string{"SLIPWAY_BUILDER_SERVICE=" + socket}, nil
		},
	})
	if err != nil {
		return s, err
	}
	s.env = env
	s.report.Gateway = env.Gateway.URL
	s.report.Repository = env.App.FullName()
	s.report.Image = env.Image()
	return s, nil
}

// run runs all steps. It returns a localenv.StationError if one fails.
func (s *scenario) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, step := range []struct {
		station string
		do      func(context.Context) error
	}{
		{"first commit", s.firstCommit},
		{"link", s.link},
		{"automated build", s.automate},
		{"push branch", s.pushBranch},
		{"push tags", s.pushTags},
		{"images", s.verify},
	} {
		if err := step.do(ctx); err != nil {
			return localenv.At(step.station, err)
		}
	}
	s.report.OK = true
	return nil
}

func (s *scenario) firstCommit(ctx context.Context) error {
	files, err := sample.Files(s.env.Registry)
	if err != nil {
		return err
	}
	if s.checkout, err = s.env.Checkout(ctx); err != nil {
		return err
	}
	if _, err = s.checkout.Commit(ctx, "Start", files); err != nil {
		return err
	}
	_, err = s.checkout.Push(ctx, "main")
	s.progress.printf("pushed a sample repository to %s (private)", s.env.App.CloneURL())
	return err
}

func (s *scenario) link(ctx context.Context) error {
	var err error
	if s.browser, err = s.env.SignInAndLink(ctx); err != nil {
		return err
	}
	s.progress.printf("signed in with the one-time token and linked Alice's account on Bitbucket's OAuth pages")
	return nil
}

func (s *scenario) automate(ctx context.Context) error {
	main := localenv.Rule{Type: "branch", Source: "main", Tags: "latest"}
	versions := localenv.Rule{Type: "tag", Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1}`}
	if err := s.env.Automate(ctx, s.browser, []localenv.Rule{main, versions}); err != nil {
		return err
	}
	s.progress.printf("created an automated build and its webhook: %s → %s, %s → %s",
		main.Source, main.Tags, versions.Source, versions.Tags)
	return nil
}

func (s *scenario) pushBranch(ctx context.Context) error {
	if err := s.commit(ctx, "main"); err != nil {
		return err
	}
	s.progress.printf("git push origin main")
	if err := s.push(ctx, "refs/heads/main"); err != nil {
		return err
	}
	return s.follow(ctx)
}

func (s *scenario) pushTags(ctx context.Context) error {
	for _, tag := range []string{"v1.2", "v2.0"} {
		if err := s.commit(ctx, tag); err != nil {
			return err
		}
		if _, err := s.checkout.Git(ctx, "tag", "-a", "-m", tag, tag); err != nil {
			return err
		}
	}
	s.progress.printf("git push origin v1.2 v2.0")
	if err := s.push(ctx, "refs/tags/v1.2", "refs/tags/v2.0"); err != nil {
		return err
	}
	return s.follow(ctx)
}

func (s *scenario) commit(ctx context.Context, version string) error {
	text := sample.Greeting(version)
	hash, err := s.checkout.Commit(ctx, "Greet from "+version, map[string]string{"greeting.txt": text})
	if err != nil {
		return err
	}
	s.greeting[hash] = text
	return nil
}

func (s *scenario) push(ctx context.Context, refs ...string) error {
	sent, err := s.checkout.Push(ctx, refs...)
	if err != nil {
		return err
	}
	s.pushes = append(s.pushes, push{sent: sent, refs: refs})
	return nil
}

// follow waits for the builds of the last push and for their statuses.
func (s *scenario) follow(ctx context.Context) error {
	last := s.pushes[len(s.pushes)-1]
	known := len(s.report.Builds)
	builds, err := s.env.WaitBuilds(ctx, known+len(last.refs), localenv.AllFinal)
	if err != nil {
		return err
	}
	for _, b := range builds[:len(builds)-known] {
		status, err := s.env.WaitStatus(ctx, b)
		if err != nil {
			return err
		}
		r := s.reportOf(last, b)
		r.Status = status.State
		s.report.Builds = append(s.report.Builds, r)
		s.progress.printBuild(r)
		if b.State != autobuild.Succeeded {
			return fmt.Errorf("build %d of %s: %s (%s): %s", b.Number, b.Ref.Full(), b.State, b.Reason, b.Detail)
		}
	}
	return nil
}

func (s *scenario) reportOf(p push, b autobuild.Build) BuildReport {
	return BuildReport{
		Ref: b.Ref.Full(), Commit: b.Commit.Hash, Tags: b.Tags, Digest: b.Digest, State: string(b.State),
		WebhookMS: b.ReceivedAt.Sub(p.sent).Milliseconds(),
		QueuedMS:  b.StartedAt.Sub(b.ReceivedAt).Milliseconds(),
		BuildMS:   b.FinishedAt.Sub(b.StartedAt).Milliseconds(),
		TotalMS:   time.Since(p.sent).Milliseconds(),
	}
}

// verify pulls every tag of every build and checks its digest and its files.
func (s *scenario) verify(ctx context.Context) error {
	images := 0
	for _, b := range s.report.Builds {
		for _, tag := range b.Tags {
			if err := s.verifyImage(ctx, tag, b.Digest, s.greeting[b.Commit]); err != nil {
				return err
			}
			images++
		}
	}
	s.progress.printf("pulled %d tags from %s: digests and files match the commits", images, s.env.Registry)
	return nil
}

// recordFailure adds the error to the report, and prints it with the end of the gateway's log.
func (s *scenario) recordFailure(err error) {
	s.report.OK = false
	var stationErr *localenv.StationError
	if errors.As(err, &stationErr) {
		s.report.Station = stationErr.Station
		err = stationErr.Err
	}
	s.report.Error = err.Error()
	s.progress.printf("failed at %s: %v", s.report.Station, err)
	if s.env == nil || s.env.Gateway == nil {
		return
	}
	if data, readErr := os.ReadFile(s.env.Gateway.LogFile()); readErr == nil {
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		s.progress.printf("the gateway's log ends with:\n%s", strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}
