package storetest

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// FailSyncs makes every sync of a file by a process fail with EIO, until restore or the end of the test.
// report is the file in which strace records these syncs, and when the process opens the file. It skips the
// test without strace.
func FailSyncs(t testing.TB, pid int, file, report string) (restore func()) {
	t.Helper()
	program, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: strace, which is absent (Debian: apt-get install strace)")
	}
	//nolint:noctx // restore ends it
	cmd := exec.Command(program, "-f", "-p", strconv.Itoa(pid), "-o", report, "-P", file,
		"-e", "trace=open,openat,fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	errors, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	restore = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(syscall.SIGTERM) // it detaches
			_ = cmd.Wait()                          // it ends by the signal
		}
	}
	t.Cleanup(restore)
	lines := bufio.NewScanner(errors)
	text := ""
	for lines.Scan() {
		text += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "attached") {
			go func() {
				for lines.Scan() { // until it ends, so that it does not block
					continue
				}
			}()
			return restore
		}
	}
	if strings.Contains(text, "Operation not permitted") {
		t.Skip("SKIPPED: the right to trace, which is absent: run as root")
	}
	t.Fatalf("strace did not attach: %s", text)
	return nil
}
