package step_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"slipway/runner/runnertest"
)

func TestAnImageOfTheBuilderIsPushedAgainIfTheRegistryLacksIt(t *testing.T) {
	for what, reaches := range map[string]bool{"this registry": true, "another registry by that name": false} {
		e := newEnv(t)
		e.Builder.Publish = func(digest string) error {
			if !reaches {
				return nil
			}
			ref, err := name.NewDigest(e.Registry.Image() + "@" + digest)
			if err != nil {
				return err
			}
			return remote.Write(ref, e.Builder.Images[digest])
		}
		log, err := e.run("PLUGIN_TAGS=1.2")
		if err != nil {
			t.Errorf("%s: got error %v, want nil\n%s", what, err, log)
			continue
		}
		if e.Registry.Tag("1.2") == "" {
			t.Errorf("%s: tag 1.2: got no image, want one", what)
		}
		if !e.Builder.Requests[0].Publish {
			t.Errorf("%s: push by the builder: got false, want true", what)
		}
		if got := (len(e.Builder.Mounts) == 0); got != reaches {
			t.Errorf("%s: upload by the builder: got %t, want %t", what, got, reaches)
		}
	}
}

func TestABuilderPushesNothingInADryRun(t *testing.T) {
	for _, setting := range []string{"PLUGIN_DRY_RUN=true", "PLUGIN_BUILDER=tcp://127.0.0.1:1"} {
		e := newEnv(t)
		log, err := e.run("PLUGIN_TAGS=1.2", setting)
		if err != nil {
			t.Errorf("%s: got error %v, want nil\n%s", setting, err, log)
			continue
		}
		if e.Builder.Requests[0].Publish {
			t.Errorf("%s: push by the builder: got true, want false\n%s", setting, log)
		}
	}
}

// The registry is checked while the builder starts. A refusal ends a build that has
// begun.
func TestTheRegistryIsAskedWhileTheBuilderOpens(t *testing.T) {
	e := newEnv(t)
	asked, opened := make(chan struct{}), atomic.Bool{}
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && opened.CompareAndSwap(false, true) {
			close(asked)
		}
		next.ServeHTTP(rw, r)
	})
	e.Builder.OnDial = func(ctx context.Context) error {
		select {
		case <-asked:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if log, err := e.run("PLUGIN_TAGS=1.2"); err != nil {
		t.Errorf("build before the login: got it started, error %v, want it after\n%s", err, log)
	}
	e.Registry.Intercept(runnertest.RequireLogin("ci", "password-canary"))
	e.Builder.OnDial, e.Builder.Closed, e.Builder.OnBuild = nil, false, untilStopped
	_, err := e.run("PLUGIN_TAGS=1.2")
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "PLUGIN_USERNAME")
	if !e.Builder.Closed {
		t.Error("builder after the run: got it open, want it closed")
	}
}
