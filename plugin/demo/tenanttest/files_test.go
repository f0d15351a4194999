package tenanttest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"slipway/plugin/demo/localenv"
)

// files: the runner of one tenant can read no data of the other tenant in the gateway's data directory,
// or in the arguments and environments of processes.
func files(e *env, from, to *tenant) {
	if e.engine != "embedded" {
		return // the engine's steps run where the CI runs them, not beside the gateway's files
	}
	runner := e.runnerOf(from)
	uid := runner.UID
	if other := e.runnerOf(to).UID; other == uid {
		e.T.Errorf("user of the runners: got %d for both tenants, want two users", uid)
	}
	seen := 0
	// The disks of attempts are mounted only where the runner is.
	data := filepath.Join("/proc", strconv.Itoa(runner.ID), "root", e.Gateway.Data)
	e.Must(filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // a runner that has just ended
		}
		if err != nil {
			return err
		}
		seen++
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has just ended
		}
		if d.IsDir() && !may(info, uid, 1) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || !may(info, uid, 4) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			e.hides(to, path+", readable for the runner of "+from.person.Name+",", string(text))
		}
		return nil
	}))
	if seen < 3 {
		e.T.Errorf("files in the data directory: got %d, want at least 3", seen)
	}
	e.processes(from, to, uid)
}

// processes checks the arguments of all processes, and the environments that a user may read.
func (e *env) processes(from, to *tenant, uid uint32) {
	workers, err := e.Workers()
	e.Must(err)
	if len(workers) < 4 {
		e.T.Errorf("processes: got %d, want the builder service, two runners and a builder at least", len(workers))
	}
	for _, p := range workers {
		if p.ID == os.Getpid() {
			continue // this test and its Bitbucket are not part of the gateway
		}
		e.hides(to, "an argument of process "+strconv.Itoa(p.ID), strings.Join(p.Args, " "))
		file := "/proc/" + strconv.Itoa(p.ID) + "/environ"
		info, err := os.Stat(file)
		if err != nil || !may(info, uid, 4) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		what := file + ", readable for the runner of " + from.person.Name + ","
		e.hides(to, what, string(text))
		if strings.Contains(string(text), to.attemptToken) {
			e.T.Errorf("%s: got the attempt token of %s, want none", what, to.person.Name)
		}
	}
}

// runnerOf returns the process that runs a tenant's build on the embedded engine.
func (e *env) runnerOf(t *tenant) localenv.Process {
	e.T.Helper()
	runner, ok, err := e.Runner(t.build.ID, 1)
	e.Must(err)
	if !ok {
		e.T.Fatalf("runner of %s: got none, want one", t.person.Name)
	}
	return runner
}

// may reports whether a user has a right on a file: 4 = read, 1 = search a directory. The user must not
// be in the group of the file.
func may(info fs.FileInfo, uid uint32, right fs.FileMode) bool {
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid == uid {
		return info.Mode().Perm()>>6&right != 0
	}
	return info.Mode().Perm()&right != 0
}
