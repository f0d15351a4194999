// Package demo shows the whole loop on one machine: it starts a world (package world),
// links an account through its OAuth pages, makes an automated build, pushes a branch and
// two tags with git, and follows each push to its image and its status.
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

// loopTime bounds the whole loop, without the waiting for Ctrl-C after it.
const loopTime = 5 * time.Minute

// Options say how the demo runs.
type Options struct {
	Executable string // the slipway binary
	Builder    string // address of a builder; empty = the gateway starts its own
	Stderr     io.Writer
}

// A push is one git push of the demo.
type push struct {
	sent time.Time
	refs []string // full names
}

// A loop is one run of the demo.
type loop struct {
	env      *localenv.Env
	tell     *teller
	browser  *localenv.Browser
	checkout *localenv.Checkout
	pushes   []push
	greeting map[string]string // by commit: greeting.txt
	report   Report
}

// start makes the world and everything up to the first push.
func start(ctx context.Context, o Options) (*loop, error) {
	l := &loop{tell: newTeller(o.Stderr), greeting: map[string]string{}, report: Report{Builds: []BuildReport{}}}
	l.tell.say("starting a Bitbucket, a registry and a gateway on this machine")
	w, err := localenv.Start(ctx, localenv.Options{Executable: o.Executable, Builder: o.Builder})
	if err != nil {
		return l, err
	}
	l.env = w
	l.report.Gateway, l.report.Repository, l.report.Image = w.Gateway.URL, w.App.FullName(), w.Image()
	return l, nil
}

// run goes through the loop once.
func (l *loop) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loopTime)
	defer cancel()
	for _, step := range []struct {
		station string
		do      func(context.Context) error
	}{
		{"first commit", l.firstCommit},
		{"link", l.link},
		{"automated build", l.automate},
		{"push branch", l.pushBranch},
		{"push tags", l.pushTags},
		{"images", l.verify},
	} {
		if err := step.do(ctx); err != nil {
			return localenv.At(step.station, err)
		}
	}
	l.report.OK = true
	return nil
}

func (l *loop) firstCommit(ctx context.Context) error {
	files, err := sample.Files(l.env.Registry)
	if err != nil {
		return err
	}
	if l.checkout, err = l.env.Checkout(ctx); err != nil {
		return err
	}
	if _, err = l.checkout.Commit(ctx, "Start", files); err != nil {
		return err
	}
	_, err = l.checkout.Push(ctx, "main")
	l.tell.say("pushed a sample repository to %s (private)", l.env.App.CloneURL())
	return err
}

func (l *loop) link(ctx context.Context) error {
	var err error
	if l.browser, err = l.env.SignInAndLink(ctx); err != nil {
		return err
	}
	l.tell.say("signed in with the one-time token and linked alice's account through Bitbucket's OAuth pages")
	return nil
}

func (l *loop) automate(ctx context.Context) error {
	err := l.env.Automate(ctx, l.browser, []localenv.Rule{
		{Type: "branch", Source: "main", Tags: "latest"},
		{Type: "tag", Source: `/^v([0-9]+)\.([0-9]+)$/`, Tags: `{\1}.{\2},{\1}`},
	})
	if err != nil {
		return err
	}
	l.tell.say(
		"made an automated build: main → latest, /^v([0-9]+)\\.([0-9]+)$/ → {\\1}.{\\2},{\\1}; its webhook stands at Bitbucket",
	)
	return nil
}

func (l *loop) pushBranch(ctx context.Context) error {
	if err := l.commit(ctx, "main"); err != nil {
		return err
	}
	l.tell.say("git push origin main")
	if err := l.push(ctx, "refs/heads/main"); err != nil {
		return err
	}
	return l.follow(ctx)
}

func (l *loop) pushTags(ctx context.Context) error {
	for _, tag := range []string{"v1.2", "v2.0"} {
		if err := l.commit(ctx, tag); err != nil {
			return err
		}
		if _, err := l.checkout.Git(ctx, "tag", "-a", "-m", tag, tag); err != nil {
			return err
		}
	}
	l.tell.say("git push origin v1.2 v2.0")
	if err := l.push(ctx, "refs/tags/v1.2", "refs/tags/v2.0"); err != nil {
		return err
	}
	return l.follow(ctx)
}

func (l *loop) commit(ctx context.Context, version string) error {
	text := sample.Greeting(version)
	hash, err := l.checkout.Commit(ctx, "Greet from "+version, map[string]string{"greeting.txt": text})
	if err != nil {
		return err
	}
	l.greeting[hash] = text
	return nil
}

func (l *loop) push(ctx context.Context, refs ...string) error {
	sent, err := l.checkout.Push(ctx, refs...)
	if err != nil {
		return err
	}
	l.pushes = append(l.pushes, push{sent: sent, refs: refs})
	return nil
}

// follow waits for the builds of the newest push and their statuses.
func (l *loop) follow(ctx context.Context) error {
	last := l.pushes[len(l.pushes)-1]
	known := len(l.report.Builds)
	builds, err := l.env.WaitBuilds(ctx, known+len(last.refs), localenv.AllFinal)
	if err != nil {
		return err
	}
	for _, b := range builds[:len(builds)-known] {
		status, err := l.env.WaitStatus(ctx, b)
		if err != nil {
			return err
		}
		r := l.times(last, b)
		r.Status = status.State
		l.report.Builds = append(l.report.Builds, r)
		l.tell.build(r)
		if b.State != autobuild.Succeeded {
			return fmt.Errorf("build %d of %s is %s (%s): %s", b.Number, b.Ref.Full(), b.State, b.Reason, b.Detail)
		}
	}
	return nil
}

func (l *loop) times(p push, b autobuild.Build) BuildReport {
	return BuildReport{
		Ref: b.Ref.Full(), Commit: b.Commit.Hash, Tags: b.Tags, Digest: b.Digest, State: string(b.State),
		WebhookMS: b.ReceivedAt.Sub(p.sent).Milliseconds(),
		QueuedMS:  b.StartedAt.Sub(b.ReceivedAt).Milliseconds(),
		BuildMS:   b.FinishedAt.Sub(b.StartedAt).Milliseconds(),
		TotalMS:   time.Since(p.sent).Milliseconds(),
	}
}

// verify pulls every image by every tag and checks it against the commit.
func (l *loop) verify(ctx context.Context) error {
	images := 0
	for _, b := range l.report.Builds {
		for _, tag := range b.Tags {
			if err := l.verifyImage(ctx, tag, b.Digest, l.greeting[b.Commit]); err != nil {
				return err
			}
			images++
		}
	}
	l.tell.say("pulled %d tags from %s: digests and contents are those of the commits", images, l.env.Registry)
	return nil
}

// fail notes where the loop failed, with the end of the gateway's log for people.
func (l *loop) fail(err error) {
	l.report.OK = false
	var s *localenv.StationError
	if errors.As(err, &s) {
		l.report.Station, err = s.Station, s.Err
	}
	l.report.Error = err.Error()
	l.tell.say("failed at %s: %v", l.report.Station, err)
	if l.env == nil || l.env.Gateway == nil {
		return
	}
	if data, readErr := os.ReadFile(l.env.Gateway.LogFile()); readErr == nil {
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		l.tell.say("the gateway's log ends with:\n%s", strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}
