package localenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// lookEvery is the time between two looks at something that is waited for.
const lookEvery = 20 * time.Millisecond

// maxAnswer bounds what is read of a REST answer.
const maxAnswer = 1 << 20

// WaitBuilds returns when at least n builds exist and met is true of all of them together,
// newest first, or ctx ends.
func (w *Env) WaitBuilds(ctx context.Context, n int, met func([]autobuild.Build) bool) ([]autobuild.Build, error) {
	return w.waitBuilds(ctx, func(autobuild.Build) bool { return true }, n, met)
}

// Build reads one build with its stages.
func (w *Env) Build(ctx context.Context, number int64) (autobuild.Build, error) {
	s, err := w.Gateway.Store(ctx)
	if err != nil {
		return autobuild.Build{}, err
	}
	defer s.Close()
	return s.BuildByNumber(ctx, number)
}

// AllFinal reports whether every build has ended.
func AllFinal(builds []autobuild.Build) bool {
	for _, b := range builds {
		if !b.State.Final() {
			return false
		}
	}
	return true
}

// A CommitStatus is a build status as Bitbucket's REST API shows it.
type CommitStatus struct {
	Key     string `json:"key"`
	State   string `json:"state"`
	URL     string `json:"url"`
	Refname string `json:"refname"`
}

// WaitStatus returns the status of a build's commit once it is the final one of its state.
func (w *Env) WaitStatus(ctx context.Context, b autobuild.Build) (CommitStatus, error) {
	s, err := w.Gateway.Store(ctx)
	if err != nil {
		return CommitStatus{}, err
	}
	defer s.Close()
	instance, err := s.InstanceID(ctx)
	if err != nil {
		return CommitStatus{}, err
	}
	key := autobuild.StatusKey(instance, b.AutomatedBuildID, b.RuleID, "build", b.Ref.Full())
	token, err := w.Bitbucket.AddAccessToken(bitbuckettest.AccessToken{
		Kind:      bitbuckettest.WorkspaceToken,
		Name:      "observer",
		Workspace: w.App.Workspace,
		Scopes:    []string{"repository"},
	})
	if err != nil {
		return CommitStatus{}, err
	}
	want := string(autobuild.StatusOf(b.State))
	var status CommitStatus
	err = wait(ctx, func() (bool, error) {
		address := fmt.Sprintf(
			"%s/2.0/repositories/%s/commit/%s/statuses/build/%s",
			w.Bitbucket.URL(),
			b.Repository.FullName,
			b.Commit.Hash,
			key,
		)
		status, err = getStatus(ctx, address, token)
		return status.State == want, err
	})
	if err != nil {
		return status, fmt.Errorf("wait for status %s of build %d, it is %q: %w", want, b.Number, status.State, err)
	}
	return status, nil
}

// getStatus reads a status; none yet is an empty one.
func getStatus(ctx context.Context, address string, token secret.Secret) (CommitStatus, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return CommitStatus{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return CommitStatus{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return CommitStatus{}, nil
	}
	if resp.StatusCode != http.StatusOK {
		return CommitStatus{}, fmt.Errorf("read the commit's status: %s", resp.Status)
	}
	var s CommitStatus
	return s, json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&s)
}

// wait looks until met, an error, or the end of ctx.
func wait(ctx context.Context, look func() (met bool, err error)) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		met, err := look()
		if err != nil && ctx.Err() == nil {
			return err
		}
		if met {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(errors.New("it took too long"), ctx.Err())
		}
	}
}

func describe(builds []autobuild.Build) string {
	text := ""
	for _, b := range builds {
		text += fmt.Sprintf("[%d %s %s %s %s %s]", b.Number, b.Ref.Full(), b.State, b.Reason, b.Detail, b.Digest)
	}
	return text
}
