package source_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/runner/source"
)

// gitIn runs git in a directory like its owner.
func gitIn(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(
		os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a",
		"GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a",
		"GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE=@1700000000 +0200",
	)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestAuthorDateReturnsTheDateOfTheAuthor(t *testing.T) {
	dir := t.TempDir()
	gitIn(t, dir, "init", "--quiet")
	when, err := source.AuthorDate(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "does not have any commits yet") {
		t.Errorf("date of a repository without a commit: got %s and error %v, want the text of git", when, err)
	}
	gitIn(t, dir, "commit", "--quiet", "--allow-empty", "--message=a")
	if when, err := source.AuthorDate(t.Context(), dir); err != nil || !when.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("date: got %s, error %v, want %s", when, err, time.Unix(1700000000, 0))
	}
}

// An earlier step of the pipeline may have changed the workspace's configuration. This step, which may have
// more rights, runs no program of it.
func TestReadingADateRunsNoProgramOfTheWorkspace(t *testing.T) {
	dir, marker := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	gitIn(t, dir, "init", "--quiet")
	gitIn(t, dir, "commit", "--quiet", "--allow-empty", "--message=a")
	for _, line := range [][2]string{
		{"core.repositoryFormatVersion", "1"}, {"extensions.partialClone", "origin"}, {"remote.origin.promisor", "true"},
		{"remote.origin.url", "ssh://git@example.com/a.git"}, {"core.sshCommand", "touch " + marker + " #"}, {"core.fsmonitor", "touch " + marker},
		{"core.pager", "touch " + marker}, {"log.showSignature", "true"}, {"gpg.program", "touch " + marker},
	} {
		gitIn(t, dir, "config", line[0], line[1])
	}
	if _, err := source.AuthorDate(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git", "objects")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".git", "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	if when, err := source.AuthorDate(t.Context(), dir); err == nil {
		t.Errorf("date of a commit that does not exist: got %s, want an error", when)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("command of the repository's configuration: got it run, want it ignored")
	}
}
