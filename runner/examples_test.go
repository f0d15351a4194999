package runner_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"slipway/runner/ci"
	"slipway/runner/ci/citest"
	"slipway/runner/runnertest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// An example is a step from the documentation of one of the two plugins, with the CI's event.
type example struct {
	Documented  string            // URL of the documentation
	CI          string            // ci.Drone or ci.Woodpecker
	On          string            // main, a tag, or pr for a pull request
	Secrets     map[string]string // of the repository; "generated" is a new private key
	Environment map[string]string // of the step
	Logins      map[string]string // user:password, by the registries that require a login
	Plain       []string          // registries without TLS
	Images      []string          // exist in the registries before the step
	Files       map[string]string // of the workspace, besides a Dockerfile
	Plan        bool              // only planned, because this machine cannot run it
	Own         bool              // on its own builder, whose requests are not recorded
	Settings    map[string]any
}

// Every documented step has the same result as with its plugin. The golden file of a step holds the tags
// in each registry, the requests to BuildKit and the requests to the registries.
func TestDocumentedExamples(t *testing.T) {
	needBuildKit(t)
	paths, err := filepath.Glob("testdata/examples/*.yaml")
	if err != nil {
		t.Fatalf("find the examples: %v", err)
	}
	if len(paths) == 0 {
		t.Error("examples: got none, want some")
	}
	n := newInternet(t)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, n.proxy) // of the builder
	}
	t.Setenv("SSL_CERT_FILE", n.ca)
	w := tap(t, startBuilder(t))
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			e := readExample(t, path)
			n.begin(strings.TrimSuffix(filepath.Base(path), ".yaml"), e)
			got := e.run(t, n, w)
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("plan (-want +got; -update rewrites the file):\n%s", diff)
			}
		})
	}
}

// privateKey returns a private key for signatures.
func privateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// readExample reads a file like the CI does: it replaces variables first.
func readExample(t *testing.T, path string) example {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var e example
	if err := yaml.Unmarshal(text, &e); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	expanded, err := citest.Expand(string(text), e.metadata())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	e = example{}
	if err := yaml.UnmarshalWithOptions([]byte(expanded), &e, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for name, value := range e.Secrets {
		if value == "generated" {
			e.Secrets[name] = privateKey(t)
		}
	}
	if e.Files == nil {
		e.Files = map[string]string{}
	}
	if _, found := e.Files["Dockerfile"]; !found {
		e.Files["Dockerfile"] = "FROM scratch\nCOPY Dockerfile /\n"
	}
	for file := range e.Files { // different layers for each example, because BuildKit remembers the registries of pushed layers
		if strings.Contains(file, "Dockerfile") {
			e.Files[file] += "# " + path + "\n"
		}
	}
	return e
}

const exampleCommit = "8f51ad7884c5eb69c11d260a31da7a745e6b78e2"

// metadata returns the CI's variables for the commit.
func (e example) metadata() map[string]string {
	ref, event, branch, tag := "refs/heads/main", "push", "main", ""
	switch {
	case e.On == "pr":
		ref, event = "refs/pull/7/head", "pull_request"
	case e.On != "" && e.On != "main":
		ref, event, branch, tag = "refs/tags/"+e.On, "tag", "", e.On
	}
	if e.CI == ci.Woodpecker {
		return map[string]string{
			"CI":                     "woodpecker",
			"CI_SYSTEM_NAME":         "woodpecker",
			"CI_PIPELINE_EVENT":      event,
			"CI_COMMIT_REF":          ref,
			"CI_COMMIT_SHA":          exampleCommit,
			"CI_COMMIT_BRANCH":       branch,
			"CI_COMMIT_TAG":          tag,
			"CI_REPO_DEFAULT_BRANCH": "main",
			"CI_REPO":                "octocat/hello",
			"CI_REPO_OWNER":          "octocat",
			"CI_REPO_NAME":           "hello",
			"CI_REPO_URL":            "https://bitbucket.org/octocat/hello",
			"CI_REPO_CLONE_URL":      "https://bitbucket.org/octocat/hello.git",
		}
	}
	return map[string]string{
		"CI":                  "true",
		"DRONE":               "true",
		"DRONE_BUILD_EVENT":   event,
		"DRONE_COMMIT_REF":    ref,
		"DRONE_COMMIT_SHA":    exampleCommit,
		"DRONE_BUILD_NUMBER":  "42",
		"DRONE_BRANCH":        branch,
		"DRONE_COMMIT_BRANCH": branch,
		"DRONE_TAG":           tag,
		"DRONE_REPO_BRANCH":   "main",
		"DRONE_REPO":          "octocat/hello",
		"DRONE_REPO_OWNER":    "octocat",
		"DRONE_REPO_NAME":     "hello",
		"DRONE_REPO_LINK":     "https://bitbucket.org/octocat/hello",
		"DRONE_REMOTE_URL":    "https://bitbucket.org/octocat/hello.git",
	}
}

// run runs the step and returns its result, without the values that differ in each run.
func (e example) run(t *testing.T, n *internet, w *recorder) string {
	t.Helper()
	for _, image := range e.Images {
		n.put(t, image)
	}
	n.begin(n.now, e) // clears the calls
	environ, err := citest.Step{
		CI:          e.CI,
		Settings:    e.Settings,
		Environment: e.Environment,
		Secrets:     e.Secrets,
	}.Environ()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range e.metadata() {
		environ = append(environ, name+"="+value)
	}
	dir := runnertest.Workspace(t, e.Files)
	cmd := stepCommand(t, dir, append(environ, "HTTP_PROXY="+n.proxy, "HTTPS_PROXY="+n.proxy, "SSL_CERT_FILE="+n.ca)...)
	if e.Plan {
		cmd.Args = append(cmd.Args, "--dry-run")
	}
	if !e.Plan && !e.Own {
		cmd.Env = append(cmd.Env, "SLIPWAY_BUILDER="+w.address)
	}
	log, err := cmd.CombinedOutput()
	var out bytes.Buffer
	section(&out, "the step", decided(string(log), err))
	section(&out, "BuildKit is asked for", w.asked(n.proxy))
	section(&out, "the registries are asked", n.written())
	section(&out, "the registries have", n.has(t))
	section(&out, "files", made(t, dir, e.Files))
	for _, value := range e.Secrets {
		if strings.Contains(string(log), value) {
			t.Errorf("log: got:\n%s\nwant no secret %q in it", log, value)
		}
	}
	t.Logf("%s", log)
	text := strings.NewReplacer(dir, "<workspace>", exampleCommit, "<commit>", w.address, "<builder>").
		Replace(out.String())
	return outside.ReplaceAllString(
		timestamps.ReplaceAllString(text, "<time>"),
		"not a git repository (<where>): exit status",
	)
}

// outside is git's message outside of a repository. Its end depends on the file systems of the machine.
var outside = regexp.MustCompile(`not a git repository \(.*: exit status`)

// timestamps matches a time of day.
var timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

func section(out *bytes.Buffer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "# %s\n", title)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
}

// decided returns the lines of a step's log about its decisions. It leaves out the mode of the step's own
// builder, because that depends on this machine.
func decided(log string, err error) (lines []string) {
	for line := range strings.Lines(log) {
		if line = strings.TrimRight(line, "\n"); decision.MatchString(line) {
			lines = append(lines, line)
		}
	}
	if err != nil {
		lines = append(lines, err.Error())
	}
	return lines
}

var decision = regexp.MustCompile(
	`^(note: |tags: |skipped: |slipway: |would (build|copy|push|sign|write) |  (tags|secrets|login|platforms|cache|file|source) {2,8}\S)`,
)

// made returns the files that the step added to the workspace.
func made(t *testing.T, dir string, before map[string]string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		inside, _ := filepath.Rel(dir, path)
		if _, found := before[inside]; err == nil && !d.IsDir() && !found {
			lines = append(lines, inside)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
