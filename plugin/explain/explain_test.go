package explain_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	fromFile, code, err := command(t, "", append(flags, write(t, "p.json", payload))...)
	if code != 0 || err != nil {
		t.Fatal(code, err)
	}
	fromInput, code, err := command(t, payload, append(flags, "-")...)
	if code != 0 || err != nil {
		t.Fatal(code, err)
	}
	if fromFile != fromInput || !strings.Contains(fromFile, `"build": true`) {
		t.Errorf("file:\n%s\nstandard input:\n%s", fromFile, fromInput)
	}
}

func TestTheCommandEndsWith2WhenUsedWrongly(t *testing.T) {
	rules := everything(t)
	for name, args := range map[string][]string{
		"no provider":       {"--event", "repo:push", "--rules", rules, "-"},
		"unknown provider":  {"--provider", "github", "--event", "push", "--rules", rules, "-"},
		"no event":          {"--provider", "bitbucket-cloud", "--rules", rules, "-"},
		"no rules":          {"--provider", "bitbucket-cloud", "--event", "repo:push", "-"},
		"no payload":        {"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", rules},
		"two payloads":      {"--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", rules, "a.json", "b.json"},
		"an unknown flag":   {"--colour", "--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", rules, "-"},
		"a flag that wants": {"--provider"},
	} {
		out, code, err := command(t, "{}", args...)
		if code != 2 || err == nil || strings.Contains(err.Error(), "\n") || out != "" {
			t.Errorf("%s: code %d, error %v, output %q", name, code, err, out)
		}
	}
}

func TestTheCommandEndsWith1AndNamesThePlace(t *testing.T) {
	good := everything(t)
	change := `{"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"hash":"` + head + `"}}},%s]}}`
	for _, row := range []struct{ name, rules, payload, place string }{
		{"no JSON", good, `{"push":`, "payload: not valid JSON"},
		{"an empty payload", good, ``, "payload: empty"},
		{"a list", good, `[]`, "payload: a list in place of an object"},
		{"no changes", good, `{"push":{}}`, "push.changes: missing"},
		{"changes of another type", good, `{"push":{"changes":{}}}`, "push.changes: an object in place of a list"},
		{"a short hash", good, strings.Replace(change, "%s", `{"new":{"type":"tag","name":"v1","target":{"hash":"abc"}}}`, 1), "push.changes[1].new.target.hash: not a commit hash"},
		{"no hash", good, strings.Replace(change, "%s", `{"new":{"type":"tag","name":"v1","target":{}}}`, 1), "push.changes[1].new.target.hash: missing"},
		{"a name of another type", good, strings.Replace(change, "%s", `{"new":{"type":"tag","name":7}}`, 1), "push.changes[1].new.name: a number in place of a string"},
		{"a change that is null", good, strings.Replace(change, "%s", `7`, 1), "push.changes[1]: a number in place of an object"},
		{"too large", good, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "too large"},
		{"rules that are no YAML", write(t, "r.yaml", "version: 1\nrules: [\n"), `{}`, "r.yaml: line "},
		{"an unknown key", write(t, "r.yaml", "version: 1\nrules:\n  - source_type: branch\n    sources: main\n"), `{}`, "r.yaml: line 4: unknown field \"sources\""},
		{"R16 a bad expression", write(t, "r.yaml", "version: 1\nrules:\n  - source_type: branch\n    source: '/(/'\n    tags: latest\n"), `{}`, "rules[0].source: not a regular expression"},
		{"R22 a path out of the repository", write(t, "r.yaml", "version: 1\nrules:\n  - source_type: branch\n    source: main\n    tags: latest\n    context: ../..\n"), `{}`, "rules[0].context: ../..: .. is not allowed"},
		{"no rules file", filepath.Join(t.TempDir(), "absent.yaml"), `{}`, "absent.yaml: no such file"},
	} {
		out, code, err := command(t, row.payload, "--provider", "bitbucket-cloud", "--event", "repo:push", "--rules",
			row.rules, "-")
		if code != 1 || err == nil || !strings.Contains(err.Error(), row.place) ||
			strings.Contains(err.Error(), "\n") ||
			out != "" {
			t.Errorf("%s: code %d, error %v, output %q; want the place %q", row.name, code, err, out, row.place)
		}
	}
	if _, code, err := command(t, "", "--provider", "bitbucket-cloud", "--event", "repo:push", "--rules", good,
		filepath.Join(t.TempDir(), "absent.json")); code != 1 {
		t.Errorf("an absent payload: code %d, error %v", code, err)
	}
}

func TestDataCenterMayBeLargerThanCloud(t *testing.T) {
	payload := `{"padding":"` + strings.Repeat(
		"x",
		2<<20,
	) + `","repository":{"id":1,"slug":"app","project":{"key":"APP"}},"changes":[]}`
	_, e := run(t, autobuild.DataCenter, "repo:refs_changed", everything(t), payload)
	if e.Repository.ID != 1 || e.Repository.FullName != "APP/app" || e.Repository.UUID != "" {
		t.Errorf("%+v", e.Repository)
	}
}

func TestOfSeveralDocumentsThoseOfOtherRepositoriesBuildNothing(t *testing.T) {
	_, e := run(t, autobuild.Cloud, "repo:push", filepath.Join(ruleDir, "several.yaml"), created(t, "branch:main"))
	var got []string
	for _, d := range e.Changes[0].Decisions {
		got = append(got, d.Rule+"="+strings.Join(d.Tags, ","))
	}
	if want := "0=latest 1=edge other= 3=any"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
}

// closed is a writer that always fails.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestAFailureToWriteIsReported(t *testing.T) {
	err := explain.Run(t.Context(), explain.Options{
		Provider: "bitbucket-cloud", Event: "repo:push", RulesFile: everything(t), Payload: "-",
		Stdin: strings.NewReader(created(t, "branch:main")), Stdout: closed{},
	})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
