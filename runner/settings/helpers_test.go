package settings_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
)

// readPlugin reads the settings of a step that builds registry.example.com/acme/app. They must be valid.
func readPlugin(t *testing.T, more ...string) settings.Plugin {
	t.Helper()
	p, err := settings.ReadPlugin(plugin(more...))
	if err != nil {
		t.Errorf("read %q: %v", more, err)
	}
	return p
}

// pluginError returns the error of a step's settings.
func pluginError(more ...string) error {
	_, err := settings.ReadPlugin(plugin(more...))
	return err
}

// checkError checks that an error contains each of the texts, and no secret.
func checkError(t *testing.T, what string, err error, wants ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: got no error, want %q", what, wants)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%s: got error %v, want no secret in it", what, err)
	}
}

// checkEqual checks a value.
func checkEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// checkSame checks a value that has parts.
func checkSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, comparers()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// checkNotes checks that there is one note for each text, which contains it.
func checkNotes(t *testing.T, what string, notes []string, wants ...string) {
	t.Helper()
	if len(notes) != len(wants) {
		t.Errorf("%s: got notes %q, want %q", what, notes, wants)
		return
	}
	for i, want := range wants {
		if !strings.Contains(notes[i], want) {
			t.Errorf("%s: got note %q, want %q", what, notes[i], want)
		}
	}
}

// checkMasked checks that the log masks a value.
func checkMasked(t *testing.T, p settings.Plugin, value string) {
	t.Helper()
	if !slices.ContainsFunc(p.Secrets(), func(s secret.Secret) bool { return s.Reveal() == value }) {
		t.Errorf("secrets of the log: got no %q, want it", value)
	}
}

// checkRemoved checks that variables are removed from the environment.
func checkRemoved(t *testing.T, e *environment, names ...string) {
	t.Helper()
	for _, name := range names {
		if !slices.Contains(e.removed, name) {
			t.Errorf("environment: got %s, want it removed", name)
		}
	}
}
