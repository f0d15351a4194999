package attacktest

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
)

// programVariable names another slipway program whose gateway is attacked instead of this one's.
const programVariable = "SLIPWAY_ATTACK_PROGRAM"

// attacksDir holds one folder for each attack.
const attacksDir = "../../../testdata/attacks"

// An env is an installation under attack. Alice administers it. The image and the repository of
// acme/victim are private. Bob may push to the attack's repository and to nothing else, and Carol
// has no permission on anything.
type env struct {
	*worldtest.House
	dir        string // of the attack
	bob, carol world.Person
	victim     *worldtest.Project
}

// open starts an installation with its victim. Everything that the attacks look at goes through
// HTTP, git and the registry, so that a gateway of another version can be attacked too.
func open(t *testing.T) *env {
	t.Helper()
	o := world.Options{
		RegistryPassword: secret.New("registry-password-7fb2c1"),
		Environment:      []string{"SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_CONCURRENCY=4"},
	}
	if program := os.Getenv(programVariable); program != "" {
		o.Executable, o.Child = program, true
	}
	e := &env{House: worldtest.Open(t, o)}
	e.bob, e.carol = e.AddPerson("bob"), e.AddPerson("carol")
	e.Must(e.AddRegistry(e.Context, e.Browser))
	return e
}

// attack returns the environment of one attack, with a canary of its own in acme/victim.
func (e *env) attack(t *testing.T, name string) *env {
	t.Helper()
	return &env{House: e.For(t), dir: filepath.Join(attacksDir, name), bob: e.bob, carol: e.carol, victim: e.victim}
}

// canary is the text that the attack must not reach.
func (e *env) canary() string {
	e.T.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "canary"))
	e.Must(err)
	return strings.TrimSuffix(string(text), "\n")
}

// plant makes another repository whose file canary.txt, image and image's label hold the canary.
func (e *env) plant() *worldtest.Project {
	e.T.Helper()
	p := e.project("victim-of-"+filepath.Base(e.dir), map[string]string{"Dockerfile": "FROM scratch\n"})
	e.Must(p.Automate(e.Context, e.Browser, worldtest.MainToLatest()))
	commit := p.Commit("Plant the canary", map[string]string{
		"Dockerfile": "FROM " + e.Registry + "/library/base:1\nCOPY canary.txt /canary.txt\nLABEL canary=" + e.canary() + "\n",
		"canary.txt": e.canary() + "\n",
	})
	p.Push("main")
	if state, number := e.end(p, commit); state != "SUCCESSFUL" {
		e.T.Fatalf("the victim's build ended %s, want SUCCESSFUL:\n%s", state, e.log(number))
	}
	return p
}

// project makes a private repository named slug with these files on main.
func (e *env) project(slug string, files map[string]string) *worldtest.Project {
	e.T.Helper()
	p, err := e.NewProject(e.Context, strings.ReplaceAll(slug, ".", "-"), files)
	e.Must(err)
	return &worldtest.Project{Project: p, House: e.House}
}

// An intrusion is a repository that Bob may push to, with its automated build.
type intrusion struct {
	*worldtest.Project
	page     string // of its automated build
	checkout *world.Checkout
}

// enter makes the attacker's repository and its automated build, with an environment.
func (e *env) enter(environment map[string]secret.Secret) intrusion {
	e.T.Helper()
	p := e.project("attacker-of-"+filepath.Base(e.dir), map[string]string{"Dockerfile": "FROM scratch\n"})
	p.Repository.Grant(e.bob.User, bitbuckettest.Write)
	e.Must(p.AutomateWith(e.Context, e.Browser, environment, worldtest.MainToLatest()))
	page, err := e.Browser.Path()
	e.Must(err)
	checkout, err := e.CheckoutAs(e.Context, e.bob, p.Repository)
	e.Must(err)
	return intrusion{Project: p, page: page, checkout: checkout}
}

// push commits the files of the attack's folder repository as Bob, with what stands in {{ }}
// filled in, and pushes them. It returns the commit.
func (e *env) push(i intrusion, fill map[string]string) string {
	e.T.Helper()
	files := map[string]string{}
	root := filepath.Join(e.dir, "repository")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		files[relative] = e.fill(string(text), fill)
		return err
	})
	if !errors.Is(err, fs.ErrNotExist) {
		e.Must(err)
	}
	if len(files) == 0 {
		files["pushed.txt"] = "by Bob\n"
	}
	commit, err := i.checkout.Commit(e.Context, "Attack "+filepath.Base(e.dir), files)
	e.Must(err)
	_, err = i.checkout.Push(e.Context, "main")
	e.Must(err)
	return commit
}

func (e *env) fill(text string, fill map[string]string) string {
	var all []string // of two values for a name the first one counts
	for name, value := range fill {
		all = append(all, "{{"+name+"}}", value)
	}
	all = append(all, "{{REGISTRY}}", e.Registry, "{{BITBUCKET}}", e.Bitbucket.URL(), "{{CANARY}}", e.canary())
	return strings.NewReplacer(all...).Replace(text)
}

// end waits for the final status of a commit and returns it with the number of its build.
func (e *env) end(p *worldtest.Project, commit string) (state string, number int64) {
	e.T.Helper()
	e.Until("commit "+commit[:12]+" has a final status", func() (bool, error) {
		all := p.Statuses(commit)
		if len(all) == 0 {
			return false, nil
		}
		var err error
		state = all[0].State
		number, err = strconv.ParseInt(path.Base(all[0].URL), 10, 64)
		return state != "INPROGRESS", err
	})
	return state, number
}

// log reads the raw log of a build's first attempt as the administrator.
func (e *env) log(number int64) string {
	e.T.Helper()
	log, err := e.Browser.Log(e.Context, autobuild.Build{Number: number}, 1, 0)
	e.Must(err)
	return log
}

// probe runs the attack's probe.sh in a directory of its own and returns what it printed. The
// probe must come to its end: an attack that broke on its way proves nothing.
func (e *env) probe(settings map[string]string) string {
	e.T.Helper()
	dir, err := filepath.Abs(e.dir)
	e.Must(err)
	cmd := exec.CommandContext(e.Context, "sh", filepath.Join(dir, "probe.sh"))
	cmd.Dir = e.T.TempDir()
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + cmd.Dir, "ATTACKS=" + filepath.Dir(dir), "GATEWAY=" + e.Gateway.URL,
		"BITBUCKET=" + e.Bitbucket.URL(), "REGISTRY=" + e.Registry, "CANARY=" + e.canary(),
	}
	for name, value := range settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil || !strings.HasSuffix(text, "probed\n") {
		e.T.Fatalf("the probe broke: %v; it printed:\n%s", err, clip(text))
	}
	return text
}

// claimByHand pushes a commit to a repository of the engine own and runs the probe with its
// pipeline token, as somebody who may edit the pipeline does.
func (e *env) claimByHand(victim string) string {
	e.T.Helper()
	i := e.enter(nil)
	id, token := e.Joining()
	commit := e.push(i, nil)
	return e.probe(map[string]string{"AUTOMATED_BUILD": id, "PIPELINE_TOKEN": token, "COMMIT": commit, "VICTIM": victim})
}

// reached is the evidence that a text holds the canary: the lines around it; empty = it does not.
func (e *env) reached(text string) string {
	e.T.Helper()
	if !strings.Contains(text, e.canary()) {
		return ""
	}
	at := strings.Index(text, e.canary())
	return strconv.Quote(text[max(0, at-100):min(len(text), at+len(e.canary())+100)])
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

// setRole gives a person a role on the page People, where that page has one to give.
func (e *env) setRole(p world.Person, role string) {
	e.T.Helper()
	e.Must(e.Browser.Visit(e.Context, "/settings/people"))
	for _, action := range e.Browser.Actions() {
		if path.Dir(action) != "/settings/people" || !e.Browser.HasIn(action, p.Name) {
			continue
		}
		// A gateway without roles between none and administrator refuses the word.
		if err := e.Browser.Submit(e.Context, action, url.Values{"role": {role}}); err != nil {
			e.T.Logf("role %s of %s: %v", role, p.Name, err)
		}
		return
	}
}

// endSessions ends a person's sessions on the page People, where that page can.
func (e *env) endSessions(p world.Person) (done bool) {
	e.T.Helper()
	e.Must(e.Browser.Visit(e.Context, "/settings/people"))
	for _, action := range e.Browser.Actions() {
		if slices.Contains(strings.Split(action, "/"), "sessions") && e.Browser.HasIn(action, p.Name) {
			e.Must(e.Browser.Submit(e.Context, action, nil))
			return true
		}
	}
	return false
}

func clip(text string) string { return text[:min(len(text), 4000)] }
