package attacktest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// several: one commit makes several attempts, from hooks and from RUN. Each prints a line
// "try NAME: OUTPUT". The file "checks" of the attack has the names, so that an incomplete attack fails.
func several(e *env) string {
	i := e.enter(nil)
	_, number := e.end(i.Project, e.push(i, e.outside()))
	return e.succeeded(e.log(number))
}

// outside plants the canary outside of builds, and returns the values for the files of the attack.
func (e *env) outside() map[string]string {
	e.T.Helper()
	e.world.plant(e.T, e.canary(), e.Gateway.Data)
	tree := filepath.Join(e.world.dir, "tree")
	e.Must(os.MkdirAll(tree, 0o755))
	for name, text := range map[string]string{
		"Dockerfile": "FROM " + e.Registry + "/library/base:1\nCOPY public /public\nRUN cat /public\n",
		"public":     e.canary() + "\n",
	} {
		e.Must(os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644))
	}
	values := e.world.fill()
	values["DATA"] = e.Gateway.Data
	return values
}

// succeeded returns the names of the attempts that reached the canary, from a log.
func (e *env) succeeded(log string) string {
	e.T.Helper()
	want := strings.FieldsFunc(e.file("checks"), func(r rune) bool { return r == '\n' })
	reached := map[string]bool{} // by name of each attempt that was made
	for line := range strings.Lines(log) {
		_, attempt, found := strings.Cut(line, "try ")
		name, output, _ := strings.Cut(attempt, ": ")
		if found && slices.Contains(want, name) {
			reached[name] = reached[name] || strings.Contains(output, e.canary())
		}
	}
	made := slices.Sorted(maps.Keys(reached))
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), made); diff != "" {
		e.T.Fatalf("attempts (-want +got):\n%s\n%s", diff, log)
	}
	maps.DeleteFunc(reached, func(_ string, reached bool) bool { return !reached })
	if e.other() {
		for _, name := range want {
			if !reached[name] {
				e.T.Logf("attempt %s: got no canary", name)
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(reached)), ", ")
}

// file reads a file of the attack.
func (e *env) file(name string) string {
	e.T.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, name))
	e.Must(err)
	return string(text)
}

// processes: a hook uses other processes, and leaves one.
func processes(e *env) string {
	cmd := exec.Command("sh", "-c", "read -r line", "decoy", e.canary())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: runnerUser, Gid: runnerUser}}
	cmd.Env = []string{"DECOY=" + e.canary()}
	input, err := cmd.StdinPipe()
	e.Must(err)
	e.Must(cmd.Start())
	defer func() {
		input.Close()
		_ = cmd.Wait() // its status says nothing
	}()
	return several(e)
}

// branches pushes each folder of "repository" as a branch, and returns the log of each branch's build.
func (e *env) branches(fill map[string]string) (logs map[string]string) {
	e.T.Helper()
	i := e.enterWith(nil, localenv.Rule{Type: "branch", Source: "/^try-/", Tags: "{sourceref}"})
	commits := map[string]string{}
	for _, entry := range must.Get[[]os.DirEntry](e.T)(os.ReadDir(filepath.Join(e.dir, "repository"))) {
		name := "try-" + entry.Name()
		for _, args := range [][]string{{"checkout", "--quiet", "--orphan", name}, {"rm", "-rf", "--quiet", "."}} {
			_, err := i.checkout.Git(e.Context, args...)
			e.Must(err)
		}
		commits[name] = e.commit(i, filepath.Join("repository", entry.Name()), fill)
	}
	_, err := i.checkout.Push(e.Context, slices.Sorted(maps.Keys(commits))...)
	e.Must(err)
	logs = map[string]string{}
	for name, commit := range commits {
		_, number := e.end(i.Project, commit)
		logs[name] = e.log(number)
	}
	return logs
}

// symlinks: hooks replace files of the runner by links to files of the machine.
func symlinks(e *env) string {
	var reached []string
	for name, log := range e.branches(e.outside()) {
		switch {
		case strings.Contains(log, e.canary()):
			reached = append(reached, name)
		case e.other():
			e.T.Logf("attempt %s: got no canary", name)
		}
	}
	return strings.Join(slices.Sorted(slices.Values(reached)), ", ")
}

// sources: Dockerfiles make the builder connect to addresses that are not public.
func sources(e *env) string {
	logs := e.branches(e.outside())
	reached := e.world.connections()
	if e.other() {
		e.T.Logf("%d branches, connections: %q", len(logs), reached)
	}
	return strings.Join(reached, "\n")
}

// fromCache: builds of two repositories use the same caches.
func fromCache(e *env) string {
	victim := e.project("victim-of-"+filepath.Base(e.dir), map[string]string{"Dockerfile": "FROM scratch\n"})
	e.Must(victim.Automate(e.Context, e.Browser, demotest.MainRule()))
	files := map[string]string{}
	for _, name := range []string{"Dockerfile", "shared.sh"} {
		files[name] = e.fill(e.file(filepath.Join("victim", name)), nil)
	}
	first := victim.Commit("Fill the cache", files)
	victim.Push("main")
	_, number := e.end(victim, first)
	log := e.log(number)
	layer := regexp.MustCompile(`layer ([0-9a-f-]{36}) end`).FindStringSubmatch(log)
	if layer == nil {
		e.T.Fatalf("build of the victim: got no layer, want one:\n%s", log)
	}
	i := e.enter(nil)
	_, number = e.end(i.Project, e.push(i, map[string]string{"LAYER": layer[1]}))
	read := e.succeeded(e.log(number))
	files["again"] = "again\n"
	second := victim.Commit("Use the cache", files)
	victim.Push("main")
	_, number = e.end(victim, second)
	if log := e.log(number); strings.Contains(log, e.canary()+"-poison") {
		read += ", poison"
	}
	return read
}
