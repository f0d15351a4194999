package attacktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// programVariable is the environment variable with the path of another slipway program to attack.
const programVariable = "SLIPWAY_ATTACK_PROGRAM"

// attacksDir has one folder for each attack.
const attacksDir = "../../../testdata/attacks"

// An env is an installation under attack. Alice administers it. The image and the repository of
// acme/victim are private. Bob may push to the attack's repository and to nothing else, and Carol
// has no permission on anything.
type env struct {
	*demotest.Env
	dir        string // folder of the attack
	bob, carol localenv.Person
	victim     *demotest.Project
	world      *world
}

// open starts an installation. The attacks use only HTTP, git and the registry, so that they also work
// against a gateway of another version.
func open(t *testing.T) *env {
	t.Helper()
	o := localenv.Options{
		RegistryPassword: secret.New("registry-password-7fb2c1"),
		Environment: []string{
			"SLIPWAY_CONCURRENCY=4",
			"SLIPWAY_CONCURRENCY_PER_BUILD=4",
			"SLIPWAY_BUILD_DISK=1GB",
			"SLIPWAY_BUILDER_DISK=1GB",
			"SLIPWAY_BUILD_MEMORY=512MB",
			"SLIPWAY_BUILD_PROCESSES=300",
		},
	}
	if program := os.Getenv(programVariable); program != "" {
		o.Executable, o.Child = program, true
	}
	w := newWorld(t)
	e := &env{world: w, Env: demotest.StartSignedIn(t, o)}
	e.bob, e.carol = e.AddPerson("bob"), e.AddPerson("carol")
	e.Must(e.AddRegistry(e.Context, e.Browser))
	return e
}

// attack returns the env for one attack.
func (e *env) attack(t *testing.T, name string) *env {
	t.Helper()
	return &env{
		Env: e.For(
			t,
		),
		dir:    filepath.Join(attacksDir, name),
		bob:    e.bob,
		carol:  e.carol,
		victim: e.victim,
		world:  e.world,
	}
}

// other reports whether the program under attack is another version.
func (e *env) other() bool { return os.Getenv(programVariable) != "" }

// canary is the text that the attack must not reach.
func (e *env) canary() string {
	e.T.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "canary"))
	e.Must(err)
	return strings.TrimSuffix(string(text), "\n")
}

// plant creates a victim: a repository with the canary in canary.txt, in its image and in a label.
func (e *env) plant() *demotest.Project {
	e.T.Helper()
	p := e.project("victim-of-"+filepath.Base(e.dir), map[string]string{"Dockerfile": "FROM scratch\n"})
	e.Must(p.Automate(e.Context, e.Browser, demotest.MainRule()))
	commit := p.Commit("Plant the canary", map[string]string{
		"Dockerfile": "FROM " + e.Registry + "/library/base:1\nCOPY canary.txt /canary.txt\n" +
			"LABEL canary=" + e.canary() + "\n",
		"canary.txt": e.canary() + "\n",
	})
	p.Push("main")
	if state, number := e.end(p, commit); state != "SUCCESSFUL" {
		e.T.Fatalf("status of the victim's build: got %s, want SUCCESSFUL:\n%s", state, e.log(number))
	}
	return p
}

// project creates a private repository named slug with these files on main.
func (e *env) project(slug string, files map[string]string) *demotest.Project {
	e.T.Helper()
	p, err := e.NewProject(e.Context, strings.ReplaceAll(slug, ".", "-"), files)
	e.Must(err)
	return &demotest.Project{Project: p, Env: e.Env}
}

// needProgram skips a test that needs a program which is not installed.
func needProgram(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: %s is not installed", name)
		}
	}
}

// attackNames lists the folders of testdata/attacks.
func attackNames(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(attacksDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

func clip(text string) string { return text[:min(len(text), shown)] }
