package explain_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v3"

	"slipway/plugin/autobuild"
	"slipway/plugin/explain"
)

// command runs slipway explain with args, and returns its output, exit code and error.
func command(t *testing.T, stdin string, args ...string) (stdout string, code int, err error) {
	t.Helper()
	var out bytes.Buffer
	app := &cli.Command{
		Name: "slipway", Commands: []*cli.Command{explain.Command()},
		Reader: strings.NewReader(stdin), Writer: &out, ErrWriter: &out,
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	err = app.Run(t.Context(), append([]string{"slipway", "explain"}, args...))
	var exit cli.ExitCoder
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return out.String(), code, err
}

// mustRun runs slipway explain and fails the test unless it succeeds.
func mustRun(t *testing.T, stdin string, args ...string) (stdout string) {
	t.Helper()
	stdout, code, err := command(t, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Fatalf("exit code: got %d, want 0", code)
	}
	return stdout
}

// wantFailure runs slipway explain with the payload, and checks that it fails with the exit code, a one-line
// error and no output. It returns the error's text.
func wantFailure(t *testing.T, name string, wantCode int, payload string, args ...string) string {
	t.Helper()
	out, code, err := command(t, payload, args...)
	if code != wantCode {
		t.Errorf("%s: got the exit code %d, want %d", name, code, wantCode)
	}
	if out != "" {
		t.Errorf("%s: got the output %q, want none", name, out)
	}
	if err == nil {
		t.Errorf("%s: got no error, want one", name)
		return ""
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: got the error %q, want one line", name, err)
	}
	return err.Error()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheCommandReadsAFileOrStandardInput(t *testing.T) {
	flags := []string{"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", everything(t)}
	payload := created(t, "branch:main")
	fromFile := mustRun(t, "", append(flags, write(t, "p.json", payload))...)
	fromInput := mustRun(t, payload, append(flags, "-")...)
	if diff := cmp.Diff(fromFile, fromInput); diff != "" {
		t.Errorf("output (-file +standard input):\n%s", diff)
	}
	if want := `"build": true`; !strings.Contains(fromFile, want) {
		t.Errorf("output: got\n%s\nwant %s in it", fromFile, want)
	}
}

func TestWrongUsageExitsWith2(t *testing.T) {
	rules := everything(t)
	for name, args := range map[string][]string{
		"no provider":      {"--event", "repo:push", "--rules", rules, "-"},
		"unknown provider": {"--provider", "github", "--event", "push", "--rules", rules, "-"},
		"no event":         {"--provider", "bitbucket-cloud", "--rules", rules, "-"},
		"no rules":         {"--provider", "bitbucket-cloud", "--event", "repo:push", "-"},
		"no payload":       {"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", rules},
		"two payloads": {
			"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", rules, "a.json", "b.json",
		},
		"an unknown flag": {
			"--colour", "--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", rules, "-",
		},
		"a flag without its value": {"--provider"},
	} {
		wantFailure(t, name, 2, "{}", args...)
	}
}

func TestInvalidInputExitsWith1AndNamesThePlace(t *testing.T) {
	good := everything(t)
	change := `{"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"hash":"` + head + `"}}},%s]}}`
	for _, row := range []struct{ name, rules, payload, place string }{
		{"no JSON", good, `{"push":`, "payload: not valid JSON"},
		{"an empty payload", good, ``, "payload: empty"},
		{"a list", good, `[]`, "payload: a list in place of an object"},
		{"no changes", good, `{"push":{}}`, "push.changes: missing"},
		{"changes of another type", good, `{"push":{"changes":{}}}`, "push.changes: an object in place of a list"},
		{
			"a short hash", good,
			strings.Replace(change, "%s", `{"new":{"type":"tag","name":"v1","target":{"hash":"abc"}}}`, 1),
			"push.changes[1].new.target.hash: not a commit hash",
		},
		{
			"no hash", good, strings.Replace(change, "%s", `{"new":{"type":"tag","name":"v1","target":{}}}`, 1),
			"push.changes[1].new.target.hash: missing",
		},
		{
			"a name of another type", good, strings.Replace(change, "%s", `{"new":{"type":"tag","name":7}}`, 1),
			"push.changes[1].new.name: a number in place of a string",
		},
		{
			"a change that is null", good, strings.Replace(change, "%s", `7`, 1),
			"push.changes[1]: a number in place of an object",
		},
		{"too large", good, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "too large"},
		{"rules that are no YAML", write(t, "r.yaml", "version: 1\nrules: [\n"), `{}`, "r.yaml: line "},
		{
			"an unknown key", write(t, "r.yaml", "version: 1\nrules:\n  - source_type: branch\n    sources: main\n"),
			`{}`, "r.yaml: line 4: unknown field \"sources\"",
		},
		{
			"R16 a bad expression",
			write(t, "r.yaml", "version: 1\nrules:\n  - source_type: branch\n    source: '/(/'\n    tags: latest\n"),
			`{}`, "rules[0].source: not a regular expression",
		},
		{
			"R22 a path out of the repository",
			write(t, "r.yaml", "version: 1\nrules:\n  - source_type: branch\n    source: main\n    tags: latest\n    context: ../..\n"),
			`{}`, "rules[0].context: ../..: .. is not allowed",
		},
		{
			"a pull request autotest", write(t, "r.yaml", "version: 1\nautotest: internal\nrules: []\n"), `{}`,
			"r.yaml: document at line 1: autotest: internal is not offered, because this version does not test pull requests",
		},
		{
			"A12 a platform",
			write(t, "r.yaml", "version: 1\nrules:\n- {source_type: branch, source: main, tags: x, platforms: [windows/foo]}\n"),
			`{}`, "rules[0].platforms[0]: \"windows/foo\" cannot be built: builders build for linux only",
		},
		{"no rules file", filepath.Join(t.TempDir(), "absent.yaml"), `{}`, "absent.yaml: no such file"},
	} {
		args := []string{"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", row.rules, "-"}
		if got := wantFailure(t, row.name, 1, row.payload, args...); !strings.Contains(got, row.place) {
			t.Errorf("%s: got the error %q, want %q in it", row.name, got, row.place)
		}
	}
	absent := filepath.Join(t.TempDir(), "absent.json")
	args := []string{"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", good, absent}
	if _, code, err := command(t, "", args...); code != 1 {
		t.Errorf("absent payload: got the exit code %d (%v), want 1", code, err)
	}
}

// Files that are saved on Windows may begin with a byte order mark.
func TestAByteOrderMarkIsIgnored(t *testing.T) {
	const mark = "\ufeff"
	rules := write(t, "r.yaml", mark+read(t, everything(t)))
	for _, kind := range []autobuild.ProviderKind{autobuild.Cloud, autobuild.DataCenter} {
		_, e := run(t, kind, "repo:push", rules, mark+created(t, "branch:main"))
		if len(e.Changes) != 1 {
			t.Errorf("%s: got %d changes, want 1", kind, len(e.Changes))
		}
	}
}

func TestADataCenterPayloadMayBeLargerThanOneOfCloud(t *testing.T) {
	repository := `"repository":{"id":1,"slug":"app","project":{"key":"APP"}}`
	payload := `{"padding":"` + strings.Repeat("x", 2<<20) + `",` + repository + `,"changes":[]}`
	_, e := run(t, autobuild.DataCenter, "repo:refs_changed", everything(t), payload)
	if e.Repository.ID != 1 {
		t.Errorf("id: got %d, want 1", e.Repository.ID)
	}
	if e.Repository.FullName != "APP/app" {
		t.Errorf("full name: got %q, want APP/app", e.Repository.FullName)
	}
	if e.Repository.UUID != "" {
		t.Errorf("uuid: got %q, want none", e.Repository.UUID)
	}
}

func TestRulesForOtherRepositoriesBuildNothing(t *testing.T) {
	_, e := run(t, autobuild.Cloud, "repo:push", filepath.Join(ruleDir, "several.yaml"), created(t, "branch:main"))
	var got []string
	for _, d := range e.Changes[0].Decisions {
		got = append(got, d.Rule+"="+strings.Join(d.Tags, ","))
	}
	if want := "0=latest 1=edge other= 3=any"; strings.Join(got, " ") != want {
		t.Errorf("tags of the rules: got %q, want %q", strings.Join(got, " "), want)
	}
}

// closed is a writer that always fails.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestAnErrorOfTheOutputIsReturned(t *testing.T) {
	err := explain.Run(t.Context(), explain.Options{
		Provider: "bitbucket-cloud", Event: "repo:push", RulesFile: everything(t), Payload: "-",
		Stdin: strings.NewReader(created(t, "branch:main")), Stdout: closed{},
	})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("run: got %v, want the error of the output", err)
	}
}
