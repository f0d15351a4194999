package worldtest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/netpolicy"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/sandboxtest"
	"slipway/runner/sandbox/service"
)

// hookScript connects to each address, and prints the addresses that answer.
const hookScript = `for host in ` + publicAddress + ` ` + private + ` ` + metadata + ` ` + machineAddress + `; do
  timeout 3 bash -c "exec 3<>/dev/tcp/$host/80; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3" 2>/dev/null | grep '^from'
done
exit 0`

// The settings of networks hold for build hooks, too.
func TestTheSettingsHoldForHooks(t *testing.T) {
	w := newWorld(t)
	sandboxtest.Need(t, "bash", "bash")
	must.Succeed(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	for _, test := range []struct {
		private string
		allowed []string
		want    string
	}{
		{"allow", nil, "from " + publicAddress + "\nfrom " + private + "\n"},
		{"refuse", nil, "from " + publicAddress + "\n"},
		{"refuse", []string{private + ":80"}, "from " + publicAddress + "\nfrom " + private + "\n"},
	} {
		policy := must.Get[netpolicy.Policy](t)(netpolicy.Parse(test.private, test.allowed))
		if got := w.runHook(t, policy); got != test.want {
			t.Errorf("%s with %v: got %q, want %q", test.private, test.allowed, got, test.want)
		}
	}
}

// runHook runs hookScript in a sandbox, and returns its output.
func (w world) runHook(t *testing.T, policy netpolicy.Policy) string {
	t.Helper()
	dir := sandboxtest.Dir(t)
	sandboxes := service.NewHostSandboxes(t.Context(), service.SandboxOptions{
		Dir: filepath.Join(dir, "sandboxes"), Policy: policy, Unlimited: true, Log: discard.Logger(),
	})
	defer sandboxes.Close()
	d := must.Get[*disk.Disk](t)(disk.New(t.Context(), disk.Options{Dir: dir, Bytes: 64 << 20}))
	defer func() { must.Succeed(t, d.Close()) }()
	must.Succeed(t, os.Chmod(d.Path(), 0o711))
	workspace := filepath.Join(d.Path(), "workspace")
	must.Succeed(t, os.Mkdir(workspace, 0o700))
	box := must.Get[service.Sandbox](t)(sandboxes.Open(t.Context(), service.Place{
		Attempt: "b1-1", Workspace: workspace, Disk: d,
	}))
	defer func() { must.Succeed(t, box.Close()) }()
	client := must.Get[*guest.Client](t)(guest.NewClient(box.Socket()))
	var out bytes.Buffer
	status, err := client.Run(t.Context(), guest.Command{
		Args: []string{"/bin/bash", "-c", hookScript}, Env: []string{"PATH=/usr/bin:/bin"}, Output: &out,
	})
	must.Succeed(t, err)
	if got := status.String(); got != "exit code 0" {
		t.Errorf("hook: got %s with output %q, want exit code 0", got, &out)
	}
	return out.String()
}
