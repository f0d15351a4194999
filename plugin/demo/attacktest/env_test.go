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

// programVariable names another slipway program whose gateway is attacked instead of this one's.
const programVariable = "SLIPWAY_ATTACK_PROGRAM"

// attacksDir holds one folder for each attack.
const attacksDir = "../../../testdata/attacks"

// An env is an installation under attack. Alice administers it. The image and the repository of
// acme/victim are private. Bob may push to the attack's repository and to nothing else, and Carol
// has no permission on anything.
type env struct {
	*demotest.Env
	dir        string // of the attack
	bob, carol localenv.Person
	victim     *demotest.Project
}

// open starts an installation with its victim. Everything that the attacks look at goes through
// HTTP, git and the registry, so that a gateway of another version can be attacked too.
func open(t *testing.T) *env {
	t.Helper()
	o := localenv.Options{
		RegistryPassword: secret.New("registry-password-7fb2c1"),
		Environment:      []string{"SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_CONCURRENCY=4"},
	}
	if program := os.Getenv(programVariable); program != "" {
		o.Executable, o.Child = program, true
	}
	e := &env{Env: demotest.StartSignedIn(t, o)}
	e.bob, e.carol = e.AddPerson("bob"), e.AddPerson("carol")
	e.Must(e.AddRegistry(e.Context, e.Browser))
	return e
}

// attack returns the environment of one attack, with a canary of its own in acme/victim.
func (e *env) attack(t *testing.T, name string) *env {
	t.Helper()
	return &env{Env: e.For(t), dir: filepath.Join(attacksDir, name), bob: e.bob, carol: e.carol, victim: e.victim}
}

// canary is the text that the attack must not reach.
func (e *env) canary() string {
	e.T.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "canary"))
	e.Must(err)
	return strings.TrimSuffix(string(text), "\n")
}

// plant makes another repository whose file canary.txt, image and image's label hold the canary.
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
		e.T.Fatalf("the victim's build ended %s, want SUCCESSFUL:\n%s", state, e.log(number))
	}
	return p
}

// project makes a private repository named slug with these files on main.
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
