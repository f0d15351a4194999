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

// `demo --once --json` ends with 0 and prints one object: a branch and two tags, built,
// pushed and reported.
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
		t.Error("standard output has more than one object")
	}
	if !r.OK || r.Error != "" || r.Repository != "acme/app" || !strings.HasPrefix(r.Gateway, "http://") ||
		!strings.HasSuffix(r.Image, "/acme/app") {
		t.Errorf("report %+v", r)
	}
	var refs []string
	for _, b := range r.Builds {
		refs = append(refs, b.Ref)
		if problem := wrong(b); problem != "" {
			t.Errorf("%s: %s: %+v", b.Ref, problem, b)
		}
	}
	slices.Sort(refs)
	if !slices.Equal(refs, []string{"refs/heads/main", "refs/tags/v1.2", "refs/tags/v2.0"}) {
		t.Errorf("built %v", refs)
	}
}

func wrong(b demo.BuildReport) string {
	switch {
	case !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(b.Commit):
		return "commit"
	case !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(b.Digest):
		return "digest"
	case b.State != "succeeded" || b.Status != "SUCCESSFUL":
		return "state"
	case len(b.Tags) == 0:
		return "tags"
	case b.WebhookMS < 0 || b.QueuedMS < 0 || b.BuildMS <= 0 || b.TotalMS < b.BuildMS:
		return "times"
	}
	return ""
}
