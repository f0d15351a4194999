package confine

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slipway/config/must"
)

// docker is a step as Docker starts it by default.
func docker() Facts {
	return Facts{Capabilities: 0xa80425fb, OtherIDs: true, SetGroups: true, Landlock: 7}
}

func TestMakePlan(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Facts)
		want   Plan
	}{
		"Docker's default":        {func(*Facts) {}, Plan{Level: LevelUser}},
		"root on an older kernel": {func(f *Facts) { f.Landlock = 0 }, Plan{Level: LevelUser}},
		"an ordinary user": {func(f *Facts) { f.UID, f.Capabilities = 1000, 0 }, Plan{
			LevelLandlock, []string{"another user: the step is not root (uid 1000)"},
		}},
		"root without capabilities": {func(f *Facts) { f.Capabilities &^= 1 << unix.CAP_SETGID }, Plan{
			LevelLandlock, []string{"another user: the step lacks CAP_SETGID, which it needs to change the group"},
		}},
		"a user namespace with one user": {func(f *Facts) { f.OtherIDs = false }, Plan{
			LevelLandlock, []string{"another user: the user namespace has no user and group ids from 62000 to 63999"},
		}},
		"a user namespace without setgroups": {func(f *Facts) { f.SetGroups = false }, Plan{
			LevelLandlock, []string{"another user: the user namespace denies setgroups"},
		}},
		"an ordinary user on Linux 6.1": {func(f *Facts) { f.UID, f.Landlock = 1000, 2 }, Plan{
			LevelNone, []string{
				"another user: the step is not root (uid 1000)",
				"Landlock: the kernel has version 2, and version 6 (Linux 6.12) is required",
			},
		}},
		"an ordinary user without Landlock": {func(f *Facts) { f.UID, f.Landlock, f.LandlockErr = 1000, 0, "not implemented" }, Plan{
			LevelNone, []string{
				"another user: the step is not root (uid 1000)", "Landlock: not available: not implemented",
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := docker()
			tt.change(&f)
			if diff := cmp.Diff(tt.want, MakePlan(f)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnavailableErrorHasTheReasons(t *testing.T) {
	f := docker()
	f.UID, f.Landlock = 1000, 4
	var err error = &UnavailableError{MakePlan(f).Reasons}
	const want = "build hooks need a step that runs as root, or Linux 6.12 with Landlock: " +
		"another user: the step is not root (uid 1000); " +
		"Landlock: the kernel has version 4, and version 6 (Linux 6.12) is required"
	if err.Error() != want {
		t.Errorf("error: got %q, want %q", err, want)
	}
	if !errors.As(err, new(*UnavailableError)) {
		t.Errorf("error: got %T, want an *UnavailableError", err)
	}
}

func TestHasIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		idMap string
		want  bool
	}{
		"a machine":                      {"         0          0 4294967295\n", true},
		"a rootless container":           {"         0       1000          1\n         1     100000      65536\n", true},
		"one user":                       {"         0       1000          1\n", false},
		"too few":                        {"0 100000 63000\n", false},
		"an empty map":                   {"", false},
		"a map that is not the kernel's": {"a b c\n", false},
	} {
		if got := hasIDs(tt.idMap); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}

// An id that a process or an account has is never used: kill(-1) would reach that process.
func TestUnusedIDs(t *testing.T) {
	root := fstest.MapFS{"etc/passwd": {Data: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:62001:1::/:/bin/sh\n")}}
	const free = 62010
	var status strings.Builder
	for id := firstID; id <= lastID; id++ {
		if id != free && id != free+1 && id != firstID && id != firstID+1 {
			status.WriteString("Uid:\t1\t")
			for range 3 {
				status.WriteString(" " + strconv.Itoa(id))
			}
			status.WriteString("\n")
		}
	}
	root["proc/7/status"] = &fstest.MapFile{Data: []byte(status.String())}
	root["proc/self"] = &fstest.MapFile{}
	got, err := unusedIDs(root)
	must.Succeed(t, err)
	if want := (ids{Hook: free, Spare: free + 1}); got != want {
		t.Errorf("ids: got %+v, want %+v", got, want)
	}
	root["etc/passwd"].Data = []byte("app:x:62001:1::/:/bin/sh\nother:x:62011:1::/:/bin/sh\n")
	if _, err := unusedIDs(root); err == nil {
		t.Error("all ids in use: got no error, want one")
	}
}
