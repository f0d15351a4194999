package runner_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestABuilderThatPushedIsBelievedWhenTheRegistryHasTheImage(t *testing.T) {
	for what, reaches := range map[string]bool{"this registry": true, "another registry by that name": false} {
		w := newWorld(t)
		w.builder.pushes = func(digest string) error {
			if !reaches {
				return nil
			}
			ref, err := name.NewDigest(w.image() + "@" + digest)
			if err != nil {
				return err
			}
			return remote.Write(ref, w.builder.images[digest])
		}
		log, err := w.alone("PLUGIN_TAGS=1.2")
		if err != nil || w.tag("1.2") == "" {
			t.Fatalf("%s: %v, tag at %q\n%s", what, err, w.tag("1.2"), log)
		}
		if !w.builder.requests[0].Publish || (w.builder.sent == 0) != reaches {
			t.Errorf("%s: asked to publish %v, sent %d times", what, w.builder.requests[0].Publish, w.builder.sent)
		}
	}
}

func TestABuilderIsNotAskedToPushWhatIsNotToBePushed(t *testing.T) {
	for _, setting := range []string{"PLUGIN_DRY_RUN=true", "PLUGIN_BUILDER=tcp://127.0.0.1:1"} {
		w := newWorld(t)
		if log, err := w.alone("PLUGIN_TAGS=1.2", setting); err != nil || w.builder.requests[0].Publish {
			t.Errorf("%s: %v\n%s", setting, err, log)
		}
	}
}

// The registry is asked while the builder is opened, and what it refuses ends a build that has
// begun.
func TestTheRegistryIsAskedWhileTheBuilderOpens(t *testing.T) {
	w := newWorld(t)
	asked, opened := make(chan struct{}), atomic.Bool{}
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && opened.CompareAndSwap(false, true) {
			close(asked)
		}
		next.ServeHTTP(rw, r)
	})
	w.builder.opening = func(ctx context.Context) error {
		select {
		case <-asked:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if log, err := w.alone("PLUGIN_TAGS=1.2"); err != nil {
		t.Errorf("the builder opened before the registry was asked: %v\n%s", err, log)
	}
	w.registry.set(asks("ci", "password-canary"))
	w.builder.opening, w.builder.closed, w.builder.inside = nil, false, untilStopped
	if _, err := w.alone(
		"PLUGIN_TAGS=1.2",
	); err == nil || !strings.Contains(err.Error(), "PLUGIN_USERNAME") ||
		!w.builder.closed {
		t.Errorf("%v, builder closed %v", err, w.builder.closed)
	}
}

// The step with nothing replaced: what its builder did not have to send to the first registry,
// which has the base image, is sent to the second.
func TestStepPushesToARegistryThatHasNotTheBaseImage(t *testing.T) {
	needBuildKit(t)
	w := newWorld(t)
	base, err := name.NewTag(strings.TrimSuffix(w.image(), "app") + "base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(base, layered(t)); err != nil {
		t.Fatal(err)
	}
	_, host := another(t)
	dir := workspace(t, map[string]string{"Dockerfile": "FROM " + base.String() + "\nLABEL a=b\n"})
	out, err := step(t, dir, "PLUGIN_REPO="+w.image()+","+host+"/acme/app", "PLUGIN_INSECURE=true").CombinedOutput()
	if got := digestAt(t, host+"/acme/app:latest"); err != nil || got == "" || got != w.tag("latest") {
		t.Errorf("%v, the second is at %q\n%s", err, got, out)
	}
}

// layered is an image of a layer, as this machine may run.
func layered(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}
