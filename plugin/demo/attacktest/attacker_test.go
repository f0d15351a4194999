package attacktest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// An intrusion is a repository that Bob may push to, with its automated build.
type intrusion struct {
	*demotest.Project
	page     string // page of its automated build
	checkout *localenv.Checkout
}

// enter creates the attacker's repository and its automated build, with environment variables.
func (e *env) enter(environment map[string]secret.Secret) intrusion {
	e.T.Helper()
	return e.enterWith(environment, demotest.MainRule())
}

// enterWith is like enter, with a rule.
func (e *env) enterWith(environment map[string]secret.Secret, rule localenv.Rule) intrusion {
	e.T.Helper()
	p := e.project("attacker-of-"+filepath.Base(e.dir), map[string]string{"Dockerfile": "FROM scratch\n"})
	p.Repository.Grant(e.bob.User, bitbuckettest.Write)
	e.Must(p.AutomateWith(e.Context, e.Browser, environment, rule))
	page, err := e.Browser.Path()
	e.Must(err)
	checkout, err := e.CheckoutAs(e.Context, e.bob, p.Repository)
	e.Must(err)
	return intrusion{Project: p, page: page, checkout: checkout}
}

// push commits the files in the attack's folder "repository" as Bob, and pushes them. It replaces each
// {{NAME}} in a file by a value. It returns the commit.
func (e *env) push(i intrusion, fill map[string]string) string {
	e.T.Helper()
	commit := e.commit(i, "repository", fill)
	_, err := i.checkout.Push(e.Context, "main")
	e.Must(err)
	return commit
}

// commit commits the files in a folder of the attack as Bob, as push does.
func (e *env) commit(i intrusion, folder string, fill map[string]string) string {
	e.T.Helper()
	files := map[string]string{}
	root := filepath.Join(e.dir, folder)
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
	return commit
}

func (e *env) fill(text string, fill map[string]string) string {
	var all []string // if a name has two values, the first one applies
	for name, value := range fill {
		all = append(all, "{{"+name+"}}", value)
	}
	all = append(all, "{{REGISTRY}}", e.Registry, "{{BITBUCKET}}", e.Bitbucket.URL(), "{{CANARY}}", e.canary())
	return strings.NewReplacer(all...).Replace(text)
}

// end waits for the final status of a commit. It returns the status and the number of the build.
func (e *env) end(p *demotest.Project, commit string) (state string, number int64) {
	e.T.Helper()
	var text string
	e.WaitUntil("commit "+commit[:12]+" has a final status", func() (bool, error) {
		all := p.Statuses(commit)
		if len(all) == 0 {
			return false, nil
		}
		var err error
		state = all[0].State
		number, err = strconv.ParseInt(path.Base(all[0].URL), 10, 64)
		text = all[0].Description
		return state != "INPROGRESS", err
	})
	e.T.Logf("build %d ended as %s: %s", number, state, text)
	return state, number
}

// shown is the maximum length of an attack's output that a test prints, in bytes.
const shown = 2000

// maxAttempts is the largest number of attempts of a build.
const maxAttempts = 3

// log reads the raw logs of all attempts of a build as the administrator. The load of the machine may end an
// attempt, whose log may be empty then; the build has a further one.
func (e *env) log(number int64) string {
	e.T.Helper()
	var all strings.Builder
	for attempt := 1; attempt <= maxAttempts; attempt++ {
		log, err := e.Browser.Log(e.Context, autobuild.Build{Number: number}, attempt, 0)
		if attempt > 1 && err != nil {
			break // there is no such attempt
		}
		e.Must(err)
		e.T.Logf("the log of attempt %d of build %d ends with:\n%s", attempt, number, log[max(0, len(log)-shown):])
		all.WriteString(log)
	}
	return all.String()
}

// probe runs the attack's probe.sh in a directory of its own and returns its output. It ends the test
// if the script does not finish, because an incomplete attack proves nothing.
func (e *env) probe(settings map[string]string) string {
	e.T.Helper()
	dir, err := filepath.Abs(e.dir)
	e.Must(err)
	cmd := exec.CommandContext(e.Context, "sh", filepath.Join(dir, "probe.sh"))
	cmd.Dir = e.T.TempDir()
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + cmd.Dir, "ATTACKS=" + filepath.Dir(dir),
		"GATEWAY=" + e.Gateway.URL, "BITBUCKET=" + e.Bitbucket.URL(), "REGISTRY=" + e.Registry, "CANARY=" + e.canary(),
	}
	for name, value := range settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		e.T.Fatalf("run probe.sh: %v; it printed:\n%s", err, clip(text))
	}
	if !strings.HasSuffix(text, "probed\n") {
		e.T.Fatalf("run probe.sh: got no end, want one; it printed:\n%s", clip(text))
	}
	e.T.Logf("the probe printed:\n%s", clip(text))
	return text
}

// claimByHand pushes a commit to a repository with the engine "own". It runs the probe with the
// pipeline token, as a person with write access to the pipeline can.
func (e *env) claimByHand(victim string) string {
	e.T.Helper()
	i := e.enter(nil)
	id, token := e.UseOwnPipeline()
	commit := e.push(i, nil)
	return e.probe(map[string]string{
		"AUTOMATED_BUILD": id, "PIPELINE_TOKEN": token, "COMMIT": commit, "VICTIM": victim,
	})
}

// reached returns the text around the canary, or "" if the text does not contain it.
func (e *env) reached(text string) string {
	e.T.Helper()
	if !strings.Contains(text, e.canary()) {
		return ""
	}
	at := strings.Index(text, e.canary())
	return strconv.Quote(text[max(0, at-100):min(len(text), at+len(e.canary())+100)])
}
