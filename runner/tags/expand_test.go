package tags_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/tags"
)

// The rows are those of Drone's plugins/kaniko.
// Source: https://github.com/drone/drone-kaniko/blob/main/kaniko_test.go
func TestExpand(t *testing.T) {
	for tag, want := range map[string][]string{
		"v1.2.3":             {"1", "1.2", "1.2.3"},
		"1.2.3":              {"1", "1.2", "1.2.3"},
		"v1.2":               {"1", "1.2", "1.2.0"},
		"v1":                 {"1", "1.0", "1.0.0"},
		"v1.2.3-rc1":         {"1.2.3-rc1"},
		"v1.2.3_rc1":         {"1.2.3-rc1"},
		"v1.2.3+linux_amd64": {"1+linux-amd64", "1.2+linux-amd64", "1.2.3+linux-amd64"},
		"latest":             {"latest"},
		"v1.2.3.4":           {"v1.2.3.4"},
	} {
		if diff := cmp.Diff(want, tags.Expand([]string{tag})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tag, diff)
		}
	}
	if diff := cmp.Diff([]string{"2", "2.0", "2.0.1", "edge"}, tags.Expand([]string{"2.0.1", "edge"})); diff != "" {
		t.Errorf("a list (-want +got):\n%s", diff)
	}
}
