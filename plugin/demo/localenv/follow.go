package localenv

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// pollInterval is the time between two calls of a condition that is waited for.
const pollInterval = 20 * time.Millisecond

// maxResponse is the maximum size of a REST response, in bytes.
const maxResponse = 1 << 20

// WaitBuilds waits until at least n builds exist and met returns true for all of them, newest first.
// It returns an error if ctx ends first.
func (env *Env) WaitBuilds(ctx context.Context, n int, met func([]autobuild.Build) bool) ([]autobuild.Build, error) {
	return env.waitBuilds(ctx, func(autobuild.Build) bool { return true }, n, met)
}

// Build returns one build with its stages.
func (env *Env) Build(ctx context.Context, number int64) (autobuild.Build, error) {
	s, err := env.Gateway.Store(ctx)
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

// A CommitStatus is a commit status as Bitbucket's REST API returns it.
type CommitStatus struct {
	Key     string `json:"key"`
	State   string `json:"state"`
	URL     string `json:"url"`
	Refname string `json:"refname"`
}

// WaitStatus waits until the status of a build's commit matches the build's state, and returns it.
func (env *Env) WaitStatus(ctx context.Context, b autobuild.Build) (CommitStatus, error) {
	s, err := env.Gateway.Store(ctx)
	if err != nil {
		return CommitStatus{}, err
	}
	defer s.Close()
	instance, err := s.InstanceID(ctx)
	if err != nil {
		return CommitStatus{}, err
	}
	key := autobuild.StatusKey(instance, b.AutomatedBuildID, b.RuleID, "build", b.Ref.Full())
	token, err := env.Bitbucket.AddAccessToken(bitbuckettest.AccessToken{
		Kind:      bitbuckettest.WorkspaceToken,
		Name:      "observer",
		Workspace: env.App.Workspace,
		Scopes:    []string{"repository"},
	})
	if err != nil {
		return CommitStatus{}, err
	}
	want := string(autobuild.StatusOf(b.State))
	var status CommitStatus
	err = Wait(ctx, func() (bool, error) {
		address := fmt.Sprintf("%s/2.0/repositories/%s/commit/%s/statuses/build/%s",
			env.Bitbucket.URL(), b.Repository.FullName, b.Commit.Hash, key)
		status, err = getStatus(ctx, address, token)
		return status.State == want, err
	})
	if err != nil {
		return status, fmt.Errorf("wait for status %s of build %d: got %q: %w", want, b.Number, status.State, err)
	}
	return status, nil
}

// getStatus reads a status. It returns an empty one if the commit has none yet.
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
	return s, json.NewDecoder(io.LimitReader(resp.Body, maxResponse)).Decode(&s)
}

// Wait polls met until it returns true or an error, or ctx ends.
func Wait(ctx context.Context, met func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := met()
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("time-out: %w", ctx.Err())
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
