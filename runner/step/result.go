package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"slipway/config/safe"
	"slipway/config/text"
	"slipway/runner/commitstatus"
	"slipway/runner/resultfiles"
	"slipway/runner/settings"
)

// A resultFile is a file that a setting configures.
type resultFile struct {
	setting, path string
	content       func(resultfiles.Result) []byte
}

func (r run) resultFiles() (asked []resultFile) {
	for _, f := range []resultFile{
		{"PLUGIN_ARTIFACT_FILE", r.s.Files.Artifact, resultfiles.Artifact},
		{"PLUGIN_METADATA_FILE", r.s.Files.Metadata, resultfiles.Metadata},
		{"PLUGIN_DIGEST_FILE", r.s.Files.Digest, resultfiles.Digest},
		{"PLUGIN_IMAGE_NAME_WITH_DIGEST_FILE", r.s.Files.NameDigest, resultfiles.NamesWithDigest},
		{"PLUGIN_IMAGE_NAME_TAG_WITH_DIGEST_FILE", r.s.Files.NameTagDigest, resultfiles.TagsWithDigest},
	} {
		if f.path == "" {
			continue
		}
		if !filepath.IsAbs(f.path) {
			f.path = filepath.Join(r.s.Workspace, f.path)
		}
		asked = append(asked, f)
	}
	return asked
}

// checkFiles finds paths that cannot be written before the build.
func (r run) checkFiles() error {
	for _, f := range r.resultFiles() {
		if err := resultfiles.Check(f.path); err != nil {
			return f.explain(err)
		}
	}
	return nil
}

// afterPush runs a stage that follows the push. The image is published, so neither an error nor a panic of
// the stage fails the step: it is a line of the log.
func (r run) afterPush(stage string, run func() error) {
	if err := safe.Do(run); err != nil {
		r.log.Line("note: %s: %s; the step's result does not change", stage, text.FirstLine(err.Error()))
	}
}

// leaveFiles writes the result files. Its error is nil if the image was pushed.
func (r run) leaveFiles(done outcome) error {
	if !r.publishes() {
		return r.writeFiles(done)
	}
	r.afterPush("result files", func() error { return r.writeFiles(done) })
	return nil
}

// writeFiles writes the files of the settings, and the card if the CI requested one. It removes a file that
// it cannot replace, so that no later step reads the result of an earlier one.
func (r run) writeFiles(done outcome) (err error) {
	result := resultfiles.Result{
		Images: r.s.Images, Names: done.pushed, Digest: done.image.Digest, Size: done.image.Size,
		RegistryType: r.s.Files.RegistryType, RegistryURL: r.s.Files.RegistryURL, Time: r.o.Now(),
	}
	for _, f := range r.resultFiles() {
		if writeErr := resultfiles.Write(f.path, f.content(result)); writeErr != nil {
			removeFile(f.path)
			err = errors.Join(err, f.explain(writeErr))
		}
	}
	r.writeCard(result)
	return err
}

// removeFile removes a regular file or a link, if it can.
func removeFile(path string) {
	if info, err := os.Lstat(path); err == nil && !info.IsDir() {
		_ = os.Remove(path)
	}
}

func (f resultFile) explain(err error) error {
	return fmt.Errorf("%s: %w; set a path that this step can write to", f.setting, err)
}

// writeCard writes Drone's card. The CI requests it and not the user, so a failure is only logged.
func (r run) writeCard(result resultfiles.Result) {
	switch path := r.s.Files.Card; path {
	case "":
	case "/dev/stdout", "/dev/stderr":
		_, _ = fmt.Fprint(r.log, resultfiles.Escaped(resultfiles.Card(result)))
	default:
		if err := resultfiles.Write(path, resultfiles.Card(result)); err != nil {
			r.log.Line("the card was not written (DRONE_CARD_PATH): %v", err)
		}
	}
}

// The time limits of one report. After SIGTERM, a CI kills the step within 10 s, and the builder needs a part
// of that time to stop.
const (
	statusTimeout        = 5 * time.Second
	stoppedStatusTimeout = 3 * time.Second
)

// maxStatusError bounds the error in a status and in the log's line about it, in bytes.
const maxStatusError = 500

// A status reports a step to Bitbucket. It never fails a step, and delays it by at most the timeout of
// one report. The start is reported in the background, and an error is one line at the end.
type status struct {
	run      run
	target   statusTarget
	problem  error         // reason why nothing is reported although the settings may expect it
	started  chan struct{} // closed when the start was reported, or could not be; nil = nothing is reported
	giveUp   context.CancelFunc
	endLimit time.Duration
}

// A statusTarget is the commit and the key that a step reports to. A nil reporter reports nothing.
type statusTarget struct {
	reporter *commitstatus.Reporter
	report   commitstatus.Report
	place    commitstatus.Place
}

// startStatus reports to Bitbucket, in the background, that the step runs.
func (r run) startStatus(ctx context.Context, f flow) *status {
	target, err := r.statusTarget(f.subject)
	s := &status{run: r, target: target, problem: err, endLimit: r.o.StatusTimeout}
	if target.reporter == nil {
		return s
	}
	ctx, s.giveUp = context.WithTimeout(context.WithoutCancel(ctx), r.o.StatusTimeout)
	s.started = make(chan struct{})
	go func() {
		defer close(s.started)
		// If this fails, the end is still reported, and its error is the one that is shown.
		_ = safe.Do(func() error {
			return target.reporter.Post(ctx, target.report, commitstatus.InProgress, f.verb+r.s.Image())
		})
	}()
	return s
}

// statusTarget decides whether the step reports, and to which commit and key. It sends no request. The error
// has the reason if the step cannot report although the settings require it.
func (r run) statusTarget(subject commitstatus.Subject) (t statusTarget, err error) {
	given := r.s.Status
	if given.Off {
		return statusTarget{}, nil
	}
	t.place, err = commitstatus.Find(r.s.CI, given.URL)
	if given.Credential.Password.IsZero() {
		wanted := r.s.Origins["PLUGIN_BITBUCKET_STATUS"] != settings.Default
		if wanted || given.Credential.Username != "" || err == nil {
			return statusTarget{}, errors.New(
				"PLUGIN_BITBUCKET_TOKEN is not set, nor PLUGIN_BITBUCKET_USERNAME with PLUGIN_BITBUCKET_PASSWORD; " +
					"a CI keeps secrets from pull requests and from steps that do not name them",
			)
		}
		return statusTarget{}, nil
	}
	if err != nil {
		return statusTarget{}, err
	}
	if t.report, err = commitstatus.Describe(r.s.CI, subject, given.Key); err != nil {
		return statusTarget{}, err
	}
	t.reporter, err = commitstatus.New(
		commitstatus.Options{Place: t.place, Credential: given.Credential, Backoff: r.o.Backoff},
	)
	return t, err
}

// finish reports the end of the step. failure is the masked error of a step that failed. It returns a line
// about the report for the log, which may be empty.
func (s *status) finish(ctx context.Context, done outcome, failure error) (line string) {
	if s.started == nil {
		if s.problem != nil {
			return "none: " + s.problem.Error()
		}
		return ""
	}
	limit := s.endLimit
	if errors.Is(failure, errStopped) {
		s.giveUp()
		limit = min(limit, stoppedStatusTimeout)
	}
	<-s.started // otherwise the start might arrive after the end
	s.giveUp()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	state, description := s.run.describeEnd(done, failure)
	if err := s.target.reporter.Post(ctx, s.target.report, state, description); err != nil {
		return "not reported; the step's result does not change: " + text.OneLine(err.Error(), maxStatusError)
	}
	place := s.target.place
	return fmt.Sprintf("%s at %s/%s@%s", state, place.Owner, place.Slug, text.Short(s.target.report.Commit))
}

// describeEnd returns the end of the step in Bitbucket's words.
func (r run) describeEnd(done outcome, failure error) (commitstatus.State, string) {
	switch {
	case errors.Is(failure, errStopped):
		return commitstatus.Stopped, "Stopped before it finished"
	case failure != nil:
		return commitstatus.Failed, text.OneLine(failure.Error(), maxStatusError)
	case r.s.Check:
		return commitstatus.Successful, "Checked: no problem found in the Dockerfile"
	case r.s.DryRun:
		return commitstatus.Successful, commitstatus.Built("Built, not pushed (dry run)", nil, done.image.Digest)
	}
	return commitstatus.Successful, commitstatus.Built("Pushed", r.tagLists(), done.image.Digest)
}
