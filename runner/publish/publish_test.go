package publish_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/buildlog"
	"slipway/runner/publish"
)

func tagsOf(image string, names ...string) (tags []publish.Tag) {
	for _, name := range names {
		tags = append(tags, publish.Tag{Image: image, Name: name})
	}
	return tags
}

func TestAFailedTagDoesNotStopOtherTags(t *testing.T) {
	var log bytes.Buffer
	broken := errors.New("503")
	tags := append(tagsOf("r.example.com/app", "1.2", "1"), tagsOf("q.example.com/app", "1")...)
	results, err := publish.MoveTags(t.Context(), tags, func(_ context.Context, tag publish.Tag) error {
		if tag.String() == "r.example.com/app:1" {
			return broken
		}
		return nil
	}, buildlog.New(&log, time.Now))
	if len(results) != len(tags) {
		t.Errorf("results: got %d, want %d", len(results), len(tags))
	}
	if !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v in it", err, broken)
	}
	want := "1 of 3 tags were not pushed: r.example.com/app:1: 503; pushed: r.example.com/app:1.2, q.example.com/app:1"
	if err == nil || err.Error() != want {
		t.Errorf("error: got %v, want %s", err, want)
	}
	lines := "pushed r.example.com/app:1.2\ntag r.example.com/app:1 was not pushed: 503\npushed q.example.com/app:1\n"
	if diff := cmp.Diff(lines, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestAbortEndsTheMoves(t *testing.T) {
	newer := errors.New("build 8 is newer")
	moves := 0
	tags := tagsOf("r.example.com/app", "1.2", "1")
	results, err := publish.MoveTags(t.Context(), tags, func(context.Context, publish.Tag) error {
		moves++
		return publish.Abort(newer)
	}, buildlog.New(&bytes.Buffer{}, time.Now))
	if err != newer { //nolint:errorlint // the very error
		t.Errorf("got error %v, want %v", err, newer)
	}
	if moves != 1 {
		t.Errorf("moves: got %d, want 1", moves)
	}
	if len(results) != 0 {
		t.Errorf("results: got %v, want none", results)
	}
}

func TestTheEndOfTheContextEndsTheMoves(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	_, err := publish.MoveTags(ctx, tagsOf("r.example.com/app", "1.2", "1"), func(context.Context, publish.Tag) error {
		cancel(stopped)
		return nil
	}, buildlog.New(&bytes.Buffer{}, time.Now))
	if !errors.Is(err, stopped) {
		t.Errorf("got error %v, want %v", err, stopped)
	}
}

// An image is sent to each registry once. The next repository of the account mounts it.
func TestUploadMountsWithinAnAccount(t *testing.T) {
	var sent []string
	repositories := []publish.Repository{
		{Image: "r/a", Account: "r"}, {Image: "q/a", Account: "q"}, {Image: "r/b", Account: "r"},
	}
	err := publish.Upload(t.Context(), repositories, func(_ context.Context, image, mountFrom string) error {
		sent = append(sent, image+" from "+mountFrom)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"r/a from ", "q/a from ", "r/b from r/a"}, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestUploadSaysHowManyRepositoriesLackTheImage(t *testing.T) {
	repositories := []publish.Repository{{Image: "r/a", Account: "r"}, {Image: "r/b", Account: "r"}}
	err := publish.Upload(t.Context(), repositories, func(_ context.Context, image, mountFrom string) error {
		if mountFrom != "" {
			t.Errorf("%s: got a mount from %s, want none, because it has no image", image, mountFrom)
		}
		if image == "r/a" {
			return errors.New("disk full")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "1 of 2 repositories did not get the image: disk full") {
		t.Errorf("publish: got error %v, want the number of failed repositories and the cause in it", err)
	}
}
