package program_test

import (
	"testing"

	"slipway/config/program"
)

func TestAdministrationProgramsAreFoundLast(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/local/bin:/usr/bin:/bin": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
		"/usr/sbin:/usr/bin":           "/usr/sbin:/usr/bin",
		"/opt/tools":                   "/opt/tools",
		"":                             "",
	} {
		if got := program.SystemPath(path); got != want {
			t.Errorf("search path for %q: got %s, want %s", path, got, want)
		}
	}
}
