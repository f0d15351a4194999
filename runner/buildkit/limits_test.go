package buildkit_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	bk "github.com/moby/buildkit/client"
	"github.com/tonistiigi/fsutil"

	"slipway/runner/buildkit"
	"slipway/runner/sandbox/cgroup"
)

// needCgroups skips the test if no limits can be held here.
func needCgroups(t *testing.T) (version int) {
	t.Helper()
	needRoot(t)
	tree, err := cgroup.Find()
	if err != nil {
		t.Skip("SKIPPED: this test needs writable cgroups, which is absent: " + err.Error())
	}
	return tree.Version()
}

// groupOf returns the group of a builder, from its log.
func groupOf(t *testing.T, s *running) string {
	t.Helper()
	found := regexp.MustCompile(`cgroup=(/slipway/builder-\w+)`).FindStringSubmatch(s.log.String())
	if found == nil {
		t.Fatalf("the log does not name the cgroup:\n%s", s.log)
	}
	return found[1]
}

// groupDirs returns the directories of a group in all hierarchies.
func groupDirs(t *testing.T, group string) []string {
	t.Helper()
	v1, err := filepath.Glob("/sys/fs/cgroup/*" + group)
	if err != nil {
		t.Fatal(err)
	}
	v2, _ := filepath.Glob("/sys/fs/cgroup" + group)
	return append(v1, v2...)
}

func shellRequest(t *testing.T, run string) buildkit.Request {
	t.Helper()
	return request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN " + run + "\n"})))
}

// takes returns a command that needs this memory.
func takes(size string) string { return "busybox dd if=/dev/zero of=/dev/null count=1 bs=" + size }

func TestTooMuchMemoryEndsTheStepWithTheLimit(t *testing.T) {
	needCgroups(t)
	server := start(t, t.TempDir(), "--build-memory", "256MB")
	client := server.dial(t)
	const want = "killed: out of memory, limit 256 MB: SLIPWAY_BUILD_MEMORY"
	for name, run := range map[string]string{
		"the command itself": "exec " + takes("600M"),
		"a child of a shell": takes("600M") + " || exit 3",
	} {
		_, err := client.Build(t.Context(), shellRequest(t, run))
		var fault *buildkit.BuildError
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %T %v, want a BuildError", name, err, err)
			continue
		}
		if fault.Limit != want {
			t.Errorf("%s: got limit %q, want %q", name, fault.Limit, want)
		}
		if !fault.OutOfMemory() {
			t.Errorf("%s: got OutOfMemory false, want true", name)
		}
		if got, want := fault.Error(), "Dockerfile line 5: "+want; got != want {
			t.Errorf("%s: got error %q, want %q", name, got, want)
		}
	}
	// The group is used again, and an earlier kill does not count.
	build(t, client, shellRequest(t, takes("100M")))
	_, err := client.Build(t.Context(), shellRequest(t, "exit 3"))
	var fault *buildkit.BuildError
	if !errors.As(err, &fault) || fault.Limit != "" || fault.ExitCode != 3 {
		t.Errorf("a later step: got %v, want exit code 3 without a limit", err)
	}
}

func TestAForkBombStopsAtTheLimit(t *testing.T) {
	needCgroups(t)
	server := start(t, t.TempDir(), "--build-processes", "100")
	client := server.dial(t)
	run := "bomb() { bomb | bomb & }; bomb; while :; do busybox sleep 1000 & done"
	failed := make(chan error, 1)
	go func() { _, err := client.Build(t.Context(), shellRequest(t, run)); failed <- err }()
	var err error
	deadline := time.After(60 * time.Second)
	for err == nil {
		select {
		case err = <-failed:
		case <-deadline:
			t.Fatal("the step did not end")
		default:
		}
		if out, err := exec.Command("sh", "-c", "echo $(echo well)").Output(); string(out) != "well\n" {
			t.Fatalf("the rest of the machine: got %q and %v, want well", out, err)
		}
		if n := tasksIn(t, groupOf(t, server)+"/run"); n > 100 {
			t.Fatalf("got %d processes, want at most 100", n)
		}
	}
	var fault *buildkit.BuildError
	if !errors.As(err, &fault) {
		t.Fatalf("got %T %v, want a BuildError", err, err)
	}
	if want := "fork failed, limit 100 processes: SLIPWAY_BUILD_PROCESSES"; fault.Limit != want {
		t.Errorf("got limit %q, want %q", fault.Limit, want)
	}
	if fault.OutOfMemory() {
		t.Error("got OutOfMemory true, want false")
	}
	build(t, client, shellRequest(t, "echo $(echo well)"))
}

// tasksIn returns the number of processes and threads in a group and below it.
func tasksIn(t *testing.T, group string) int {
	t.Helper()
	for _, dir := range groupDirs(t, group) {
		text, err := os.ReadFile(filepath.Join(dir, "pids.current"))
		if err != nil {
			continue // another hierarchy
		}
		var n int
		for _, digit := range strings.TrimSpace(string(text)) {
			n = 10*n + int(digit-'0')
		}
		return n
	}
	t.Fatalf("cgroup %s does not count processes", group)
	return 0
}

func TestLimitsAreThoseOfBuildsTogetherAndOfEachStep(t *testing.T) {
	version := needCgroups(t)
	server := start(
		t,
		t.TempDir(),
		"--builds",
		"2",
		"--build-cpus",
		"0.5",
		"--build-memory",
		"256MB",
		"--build-processes",
		"100",
	)
	client := server.dial(t)
	build(t, client, shellRequest(t, "true"))
	files := map[string]string{
		"run/cpu.cfs_quota_us": "100000", "run/1/cpu.cfs_quota_us": "50000", "run/1/cpu.cfs_period_us": "100000",
		"run/memory.limit_in_bytes": "512000000", "run/1/memory.limit_in_bytes": "256000000",
		"run/pids.max": "200", "run/1/pids.max": "100", "run/1/cpu.shares": "512", "owner/pids.max": "4096",
	}
	if version == 2 {
		files = map[string]string{
			"run/cpu.max":      "100000 100000",
			"run/1/cpu.max":    "50000 100000",
			"run/memory.max":   "512000000",
			"run/1/memory.max": "256000000",
			"run/pids.max":     "200",
			"run/1/pids.max":   "100",
			"run/1/cpu.weight": "50",
			"owner/pids.max":   "4096",
		}
	}
	for file, want := range files {
		var got []byte
		for _, dir := range groupDirs(t, groupOf(t, server)) {
			if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				got = text
			}
		}
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
	if !strings.Contains(server.log.String(), "limits of a build: memory 256 MB, 100 processes, 0.5 CPUs") {
		t.Errorf("got log %s, want the limits in it", server.log)
	}
}

func TestLimitsThatAreNoNumbersAreRefused(t *testing.T) {
	needBuildKit(t)
	for flag, want := range map[string]string{
		"--build-memory=much": "--build-memory", "--build-processes=-1": "is negative", "--build-cpus=-1": "is negative",
	} {
		s := launch(t, t.TempDir(), flag)
		if err := s.wait(t, 10*time.Second); err == nil || !strings.Contains(s.log.String(), want) {
			t.Errorf("%s: got %v and %s, want an error with %q", flag, err, s.log, want)
		}
	}
}

// A client of the builder cannot choose another group.
func TestAClientCannotLeaveTheLimits(t *testing.T) {
	needCgroups(t)
	server := start(t, t.TempDir(), "--build-memory", "256MB")
	client, err := bk.New(t.Context(), server.address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dir := withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN " + takes("600M") + "\n"}))
	files, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []string{"/elsewhere", "/", "/slipway/../elsewhere"} {
		o := bk.SolveOpt{
			LocalMounts:   map[string]fsutil.FS{"context": files, "dockerfile": files},
			Frontend:      "dockerfile.v0",
			FrontendAttrs: map[string]string{"cgroup-parent": parent},
		}
		_, err := client.Solve(t.Context(), nil, o, nil)
		if err == nil || !strings.Contains(err.Error(), cgroup.OutOfMemory) {
			t.Errorf("cgroup-parent %s: got %v, want that the memory is limited", parent, err)
		}
		if dirs := groupDirs(t, "/elsewhere"); dirs != nil {
			t.Errorf("cgroup-parent %s: got groups %q, want none", parent, dirs)
		}
	}
}

func TestGroupsEndWithTheBuilder(t *testing.T) {
	needCgroups(t)
	state := t.TempDir()
	server := start(t, state)
	build(t, server.dial(t), shellRequest(t, "true"))
	group := groupOf(t, server)
	if dirs := groupDirs(t, group); dirs == nil {
		t.Errorf("got no group %s, want one", group)
	}
	if err := server.stop(t); err != nil {
		t.Errorf("stop: %v\n%s", err, server.log)
	}
	if dirs := groupDirs(t, group); dirs != nil {
		t.Errorf("after the stop: got groups %q, want none", dirs)
	}
}

// The kernel does not remove the groups of a killed builder. The next one does.
func TestTheNextBuilderRemovesTheGroupsOfAKilledOne(t *testing.T) {
	needCgroups(t)
	state := t.TempDir()
	killed := start(t, state)
	client := killed.dial(t)
	runs := make(chan struct{})
	r := shellRequest(t, "echo it-runs; busybox sleep 1000")
	r.Progress = onText("it-runs", func() { close(runs) })
	failed := make(chan error, 1)
	go func() { _, err := client.Build(t.Context(), r); failed <- err }()
	<-runs
	other := start(t, t.TempDir()) // its groups stay, although no step runs in them
	group, otherGroup := groupOf(t, killed), groupOf(t, other)
	if err := syscall.Kill(killed.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = killed.wait(t, 5*time.Second) // it was killed
	if err := <-failed; err == nil {
		t.Error("a build on a killed builder: got no error")
	}
	if dirs := groupDirs(t, group); dirs == nil {
		t.Error("after the kill: got no groups, want those of the killed builder")
	}
	next := start(t, state)
	if dirs := groupDirs(t, group); dirs != nil {
		t.Errorf("after the next start: got groups %q, want none\n%s", dirs, next.log)
	}
	if dirs := groupDirs(t, otherGroup+"/run"); dirs == nil {
		t.Error("another builder: got no groups, want those of its steps")
	}
	build(t, other.dial(t), shellRequest(t, "true"))
}
