package plugin

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config"
	"slipway/plugin/assembly"
)

// backupEnv is an installation with a gateway that runs.
type backupEnv struct {
	*rotateEnv
	results, notes bytes.Buffer
}

func (e *backupEnv) out() output {
	e.results.Reset()
	e.notes.Reset()
	return output{&e.results, &e.notes}
}

// A backup of a running gateway restores in another directory, with the gateway stopped.
func TestBackupAndRestore(t *testing.T) {
	e := &backupEnv{rotateEnv: newRotateEnv(t)}
	e.listener = relisten(t, e.listener)
	stop := serve(t, e.environ, e.listener)
	file := filepath.Join(t.TempDir(), "slipway.backup")
	check(t, createBackup(t.Context(), e.out(), e.environ, file, false, false))
	wantText(t, "result", e.results.String(), file, "verified", e.url, "0 logs", "secrets that the key opens")
	wantText(t, "note", e.notes.String(), "the key is not in the backup: keep a copy of", "secret.key")
	check(t, createBackup(t.Context(), e.out(), e.environ, file, true, true))
	wantText(t, "note", e.notes.String(), file+" contains the key")

	wantFault(
		t,
		restoreBackup(t.Context(), e.out(), e.environ, file, true),
		"restore needs the gateway stopped",
		"SLIPWAY_DATA=",
	)
	stop()
	wantFault(t, restoreBackup(t.Context(), e.out(), e.environ, file, false), "has a database", "--replace")
	check(t, restoreBackup(t.Context(), e.out(), e.environ, file, true))
	wantText(t, "note", e.notes.String(), "the earlier files are in", "before-restore-")
	wantText(t, "result", e.results.String(), "restored "+e.url, "start the gateway")

	data := filepath.Join(t.TempDir(), "new", "data")
	environ := append(e.environ, "SLIPWAY_DATA="+data, "SLIPWAY_URL=https://new.example.com")
	wantFault(t, restoreBackup(t.Context(), e.out(), environ, filepath.Join(data, "none"), false), "no such file")
	wantFault(t, restoreBackup(t.Context(), e.out(), environ, os.Args[0], false), "it is no backup")
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("data directory after a failed restore: got error %v, want that it does not exist", err)
	}
	check(t, restoreBackup(t.Context(), e.out(), environ, file, false))
	wantText(t, "note", e.notes.String(), "the backup is of "+e.url, "https://new.example.com")

	c, err := config.LoadGateway(environ)
	check(t, err)
	s, err := assembly.OpenReadOnly(t.Context(), c)
	check(t, err)
	hook, err := s.Hook(t.Context(), e.hook.ID)
	check(t, errors.Join(err, s.Close()))
	if hook.Secret.Reveal() != e.hook.Secret.Reveal() {
		t.Error("secret of the webhook: got another one, want that of the backup")
	}
	l := listen(t)
	stop = serve(t, environ, l)
	response, err := http.Get("http://" + l.Addr().String() + "/readyz")
	check(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("restored gateway: got %s, want that it is ready", response.Status)
	}
	stop()
}

func wantText(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%s: got %q, want %q in it", what, got, part)
		}
	}
}

func wantFault(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	wantText(t, "error", err.Error(), parts...)
}
