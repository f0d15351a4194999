package disk_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/sandboxtest"
)

// fillers are programs that fill the file system of the current directory.
var fillers = map[string]string{
	"fallocate":     "fallocate -l 1300M x; exec sleep 1000",
	"many files":    "i=0; while :; do : >$i; i=$((i+1)); done",
	"a fast writer": "exec dd if=/dev/zero of=x bs=1M",
}

// As an ordinary user, no disk of fixed size can be mounted.
func TestAWatchedProgramCannotFillTheDisk(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	for name, script := range fillers {
		for limited, w := range map[string]disk.Watch{
			"limit":   {Limit: 128 * mebi, Reserve: 1 << 30},
			"reserve": {Limit: 1 << 40, Reserve: 1 << 30},
		} {
			t.Run(name+", "+limited, func(t *testing.T) { checkFiller(t, script, w) })
		}
	}
}

// checkFiller runs a program until its watch ends it. The file system must not be full at any time.
func checkFiller(t *testing.T, script string, w disk.Watch) {
	t.Helper()
	top := sandboxtest.Dir(t)
	must.Succeed(t, unix.Mount("tmpfs", top, "tmpfs", 0, "mode=0755,size=2g,nr_inodes=200000"))
	t.Cleanup(func() { must.Succeed(t, unix.Unmount(top, unix.MNT_DETACH)) })
	w.Dir = filepath.Join(top, "work")
	must.Succeed(t, os.Mkdir(w.Dir, 0o700))
	if strings.Contains(script, "fallocate") {
		sandboxtest.Need(t, "fallocate", "util-linux")
	}
	cmd := exec.Command("sh", "-c", "echo; "+script)
	cmd.Dir = w.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out := must.Get[io.ReadCloser](t)(cmd.StdoutPipe())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must.Succeed(t, cmd.Start())
	must.Get[string](t)(bufio.NewReader(out).ReadString('\n'))
	err := w.Run(ctx)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
	var over *disk.OverError
	if !errors.As(err, &over) {
		t.Fatalf("got %v, want an OverError", err)
	}
	usage := must.Get[disk.Usage](t)(disk.Read(top))
	if usage.Full() {
		t.Errorf("after the kill: got a full file system: %+v, want free space", usage)
	}
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := disk.Watch{Dir: t.TempDir(), Limit: mebi}.Run(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the cause of the context", err)
	}
}

func TestAWatchOfAnAbsentDirectoryFails(t *testing.T) {
	err := disk.Watch{Dir: filepath.Join(t.TempDir(), "absent"), Limit: mebi}.Run(t.Context())
	var over *disk.OverError
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &over) {
		t.Errorf("got %v, want an error of the file system", err)
	}
}

// The end of a build helps only if the files of the builder fill the disk.
func TestADiskThatOthersFillIsNamed(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	for name, c := range map[string]struct {
		own, others string // sizes of files
		want        string // "" = no error
	}{
		"room":             {"1M", "1M", ""},
		"the own files":    {"120M", "100M", ""},
		"both":             {"60M", "150M", ""},
		"beyond the limit": {"150M", "90M", ""},
		"other programs":   {"1M", "200M", "other programs fill the disk of "},
	} {
		t.Run(name, func(t *testing.T) {
			sandboxtest.Need(t, "fallocate", "util-linux")
			top := sandboxtest.Dir(t)
			must.Succeed(t, unix.Mount("tmpfs", top, "tmpfs", 0, "mode=0755,size=256m"))
			t.Cleanup(func() { must.Succeed(t, unix.Unmount(top, unix.MNT_DETACH)) })
			w := disk.Watch{Dir: filepath.Join(top, "work"), Limit: 128 * mebi, Reserve: 96 * mebi}
			must.Succeed(t, os.Mkdir(w.Dir, 0o700))
			must.Succeed(t, exec.Command("fallocate", "-l", c.own, filepath.Join(w.Dir, "x")).Run())
			must.Succeed(t, exec.Command("fallocate", "-l", c.others, filepath.Join(top, "x")).Run())
			got := ""
			if err := w.FilledByOthers(t.Context()); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("error: got %q, want %q first", got, c.want)
			}
		})
	}
}
