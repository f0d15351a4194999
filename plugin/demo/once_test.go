package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/plugin/demo"
	"slipway/plugin/demo/demotest"
)

// `demo --once --json` exits with status 0 and prints one object: a branch and two tags, which were
// built, pushed and reported.
func TestOnce(t *testing.T) {
	demotest.RequireTools(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*demotest.Timeout)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, "demo", "--once", "--json")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("demo --once: %v\n%s", err, stderr.String())
	}
	decoder := json.NewDecoder(&stdout)
	decoder.DisallowUnknownFields()
	var r demo.Report
	if err := decoder.Decode(&r); err != nil {
		t.Fatalf("standard output: %v", err)
	}
	if decoder.More() {
		t.Error("standard output: got more than one object, want one")
	}
	if !r.OK {
		t.Errorf("ok: got false, want true: %s: %s", r.Station, r.Error)
	}
	if r.Error != "" {
		t.Errorf("error: got %q, want none", r.Error)
	}
	if r.Repository != "acme/app" {
		t.Errorf("repository: got %q, want acme/app", r.Repository)
	}
	if !strings.HasPrefix(r.Gateway, "http://") {
		t.Errorf("gateway: got %q, want an http URL", r.Gateway)
	}
	if !strings.HasSuffix(r.Image, "/acme/app") {
		t.Errorf("image: got %q, want acme/app in the registry", r.Image)
	}
	var refs []string
	for _, b := range r.Builds {
		refs = append(refs, b.Ref)
		if field := invalidField(b); field != "" {
			t.Errorf("build of %s: got an invalid %s, want a valid one: %+v", b.Ref, field, b)
		}
	}
	slices.Sort(refs)
	if !slices.Equal(refs, []string{"refs/heads/main", "refs/tags/v1.2", "refs/tags/v2.0"}) {
		t.Errorf("refs with a build: got %v, want main and two tags", refs)
	}
}

// invalidField returns the name of the first invalid field, or "".
func invalidField(b demo.BuildReport) string {
	switch {
	case !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(b.Commit):
		return "commit"
	case !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(b.Digest):
		return "digest"
	case b.State != "succeeded" || b.Status != "SUCCESSFUL":
		return "state"
	case len(b.Tags) == 0:
		return "tags"
	case b.WebhookMS < 0:
		return "webhook time"
	case b.QueuedMS < 0:
		return "queued time"
	case b.BuildMS <= 0:
		return "build time"
	case b.TotalMS < b.BuildMS:
		return "total time"
	}
	return ""
}
