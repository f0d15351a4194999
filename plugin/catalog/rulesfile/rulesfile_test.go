package rulesfile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog/rulesfile"
)

var compareSecrets = cmp.Comparer(func(a, b secret.Secret) bool { return a.Equal(b) })

func decode(t *testing.T, text string) []rulesfile.Document {
	t.Helper()
	documents, err := rulesfile.Decode(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return documents
}

func TestDecodeReadsEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../../testdata/rules/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []rulesfile.Document{{
		Provider: "bitbucket-cloud",
		Line:     1,
		Build: autobuild.AutomatedBuild{
			Repository:  autobuild.Repository{FullName: "acme/app"},
			Image:       "registry.example.com/acme/app",
			Engine:      "embedded",
			Autotest:    autobuild.AutotestOff,
			HooksOff:    true,
			TestsOff:    true,
			SkipCIOff:   true,
			Environment: map[string]secret.Secret{"NPM_MODE": {}, "NPM_TOKEN": {}},
			Rules: []autobuild.Rule{
				{
					ID:         "releases",
					SourceType: autobuild.Tag,
					Source:     `/^v([0-9]+)\.([0-9]+)$/`,
					Tags:       `{\1}.{\2},{\1},latest`,
					Context:    "/",
					Dockerfile: "Dockerfile",
					Autobuild:  true,
					Caching:    true,
					BuildArgs: map[string]string{
						"VERSION": "{sourceref}",
					},
					Platforms: []string{"linux/amd64"},
					Paths:     []string{"svc/**"},
				},
				{
					ID:         "main",
					SourceType: autobuild.Branch,
					Source:     "main",
					Tags:       "edge",
					Context:    "",
					Dockerfile: "docker/Dockerfile",
				},
			},
		},
	}}
	if diff := cmp.Diff(want, decode(t, string(text)), compareSecrets); diff != "" {
		t.Error(diff)
	}
}

func TestAbsentKeysHaveDefaultsAndEmptyOnesDoNot(t *testing.T) {
	r := decode(t, "version: 1\nrules:\n- source_type: branch\n  source: main\n  tags: latest\n- {source_type: "+
		"branch, source: main, tags: latest, context: '', dockerfile: '', autobuild: false, caching: false}\n")[0].Build
	if r.Autotest != autobuild.AutotestOff {
		t.Errorf("autotest: got %v, want %v", r.Autotest, autobuild.AutotestOff)
	}
	if r.Rules[0].Context != "/" {
		t.Errorf(`context: got %q, want "/"`, r.Rules[0].Context)
	}
	if r.Rules[0].Dockerfile != "Dockerfile" {
		t.Errorf(`Dockerfile: got %q, want "Dockerfile"`, r.Rules[0].Dockerfile)
	}
	if r.HooksOff || r.TestsOff || r.SkipCIOff {
		t.Errorf("hooks, tests and skip_ci: got off %t, %t, %t, want all on", r.HooksOff, r.TestsOff, r.SkipCIOff)
	}
	if !r.Rules[0].Autobuild {
		t.Error("autobuild: got false, want true")
	}
	if !r.Rules[0].Caching {
		t.Error("caching: got false, want true")
	}
	if r := r.Rules[1]; r.Context+r.Dockerfile != "" {
		t.Errorf(`context and Dockerfile: got %q, want ""`, r.Context+r.Dockerfile)
	} else if r.Autobuild {
		t.Error("autobuild: got true, want false")
	} else if r.Caching {
		t.Error("caching: got true, want false")
	}
}

func TestAFileHoldsManyDocuments(t *testing.T) {
	documents := decode(
		t,
		"---\n# nothing here\n---\nversion: 1\nrepository: a/a\n---\n---\nversion: 1\nrepository: b/b\n...\n--- "+
			"{version: 1, repository: c/c}\n---\n",
	)
	if len(documents) != 3 {
		t.Fatalf("number of documents: got %d, want 3 (%v)", len(documents), documents)
	}
	if documents[2].Build.Repository.FullName != "c/c" {
		t.Errorf(`full name: got %q, want "c/c"`, documents[2].Build.Repository.FullName)
	}
	if documents[0].Build.Repository.FullName != "a/a" {
		t.Errorf(`full name: got %q, want "a/a"`, documents[0].Build.Repository.FullName)
	}
	if documents[1].Build.Repository.FullName != "b/b" {
		t.Errorf(`full name: got %q, want "b/b"`, documents[1].Build.Repository.FullName)
	}
	if documents[1].Line != 8 {
		t.Errorf("line: got %v, want 8", documents[1].Line)
	}
}

func TestDecodeRefusesInOneLineWithThePlace(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"an unknown key", "version: 1\nimages: x\n", `line 2: unknown field "images"`},
		{
			"an unknown key of a rule", "version: 1\nrules:\n  - source_type: branch\n    autobiuld: false\n",
			`line 4: unknown field "autobiuld"`,
		},
		{"an unknown key in a second document", "version: 1\n---\nversion: 1\nimages: x\n", `line 4: unknown field "images"`},
		{"a key twice", "version: 1\nimage: a\nimage: b\n", `line 3: mapping key "image" already defined`},
		{"another type", "version: 1\nrules: yes\n", "line 2: "},
		{"a list for a text", "version: 1\nrules:\n  - source: [a]\n", "line 3: "},
		{"not a truth", "version: 1\nrules:\n  - autobuild: perhaps\n", "line 3: "},
		{"a text at the top", "just text\n", "line 1: "},
		{"broken YAML", "version: 1\nrules: [\n", "line "},
		{"an alias", "version: 1\nimage: &a x\nengine: *a\n", "line 2: anchors, aliases and tags are not supported"},
		{"a merge", "version: 1\n<<: {image: x}\n", "line 2: anchors, aliases and tags are not supported"},
		{"a tag", "version: 1\nrules:\n  ! 000\n", "line 3: anchors, aliases and tags are not supported"},
		{"a tag of a text", "version: 1\nimage: !!str x\n", "line 2: anchors, aliases and tags are not supported"},
		{"no version", "image: x\n", "document at line 1: version: 0 is unknown"},
		{"a later version", "version: 1\n---\nversion: 2\n", "document at line 3: version: 2 is unknown"},
		{"hooks", "version: 1\nhooks: sometimes\n", `document at line 1: hooks: "sometimes" is unknown: choose on or off`},
		{"tests", "version: 1\ntests: sometimes\n", `document at line 1: tests: "sometimes" is unknown: choose run or ignore`},
		{"skip_ci", "version: 1\nskip_ci: sometimes\n", "line 2: "},
		{"an autotest", "version: 1\nautotest: sometimes\n", `document at line 1: autotest: "sometimes" is unknown`},
		{"autotest internal", "version: 1\nautotest: internal\n", "document at line 1: autotest: internal is not offered"},
		{"autotest all", "version: 1\nautotest: all\n", "document at line 1: autotest: all is not offered"},
		{"nothing", "# only a comment\n", "the rules file is empty"},
		{"too large", strings.Repeat("#", rulesfile.MaxSize+1), "larger than"},
		{"too many", strings.Repeat("---\nversion: 1\n", rulesfile.MaxDocuments+1), "more than 1000 documents"},
	} {
		_, err := rulesfile.Decode(strings.NewReader(row.text))
		if err == nil {
			t.Fatalf("%s: got no error, want one", row.name)
		}
		if !strings.HasPrefix(err.Error(), row.want) && !strings.Contains(err.Error(), "larger") {
			t.Errorf(`%s: got %q, want the prefix %q`, row.name, err, row.want)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want it not to contain %q", row.name, err.Error(), "\n")
		}
	}
}

// A stored setting of an earlier version is applied as off.
func TestEncodeWritesAutotestOff(t *testing.T) {
	var out bytes.Buffer
	build := autobuild.AutomatedBuild{Autotest: autobuild.AutotestAll}
	if err := rulesfile.Encode(&out, []rulesfile.Document{{Build: build}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "autotest: off\n") {
		t.Errorf("file: got %q, want autotest: off in it", out.String())
	}
}

func TestEncodeNeverWritesAValueOfTheEnvironment(t *testing.T) {
	var out bytes.Buffer
	build := autobuild.AutomatedBuild{Environment: map[string]secret.Secret{"TOKEN": secret.New("hunter2"), "A": {}}}
	if err := rulesfile.Encode(&out, []rulesfile.Document{{Build: build}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf(`example: got %q, want it not to contain "hunter2"`, out.String())
	}
	if !strings.Contains(out.String(), "environment: [A, TOKEN]") {
		t.Errorf(`example: got %q, want it to contain "environment: [A, TOKEN]"`, out.String())
	}
}

func TestRulesFilesRoundTrip(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/rules/*.yaml")
	if err != nil {
		t.Fatalf("glob: got error %v, want none", err)
	}
	if len(files) < 3 {
		t.Fatalf("files: got %v, want at least 3", len(files))
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, decode(t, string(text)))
	}
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func checkRoundTrip(t failer, documents []rulesfile.Document) {
	t.Helper()
	var out bytes.Buffer
	if err := rulesfile.Encode(&out, documents); err != nil {
		t.Fatalf("encode: got error %v, want none", err)
	}
	text := out.String()
	again, err := rulesfile.Decode(&out)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	for i := range again {
		again[i].Line = documents[i].Line
	}
	if diff := cmp.Diff(documents, again, compareSecrets); diff != "" {
		t.Fatalf("%s\n%s", diff, text)
	}
}

func TestAnyRuleRoundTrips(t *testing.T) {
	text := rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,40}`),
		rapid.StringMatching(`[a-zé本{}\\:#'"&*!|>%@,\[\]~ \t\n-]{0,20}`),
		rapid.SampledFrom(
			[]string{
				"",
				"null",
				"true",
				"1",
				"1.0",
				"0x1",
				"---",
				"- a",
				"a: b",
				"~",
				"*a",
				"&a",
				"<<",
				"yes",
				" a ",
				"\n",
				"'",
				`"`,
				`\`,
				"1e3",
				"2026-11-22",
			},
		),
	)
	rapid.Check(t, func(t *rapid.T) {
		r := autobuild.Rule{
			ID: text.Draw(
				t,
				"id",
			),
			SourceType: autobuild.Tag,
			Source:     text.Draw(t, "source"),
			Tags:       text.Draw(t, "tags"),
			Context: text.Draw(
				t,
				"context",
			),
			Dockerfile: text.Draw(t, "dockerfile"),
			Autobuild:  rapid.Bool().Draw(t, "autobuild"),
			Caching:    rapid.Bool().Draw(t, "caching"),
			BuildArgs:  map[string]string{"A": text.Draw(t, "argument")},
			Paths:      []string{text.Draw(t, "path"), text.Draw(t, "path")},
		}
		build := autobuild.AutomatedBuild{
			Image:    text.Draw(t, "image"),
			Autotest: autobuild.AutotestOff,
			HooksOff: rapid.Bool().Draw(t, "hooks"), TestsOff: rapid.Bool().Draw(t, "tests"),
			SkipCIOff: rapid.Bool().Draw(t, "skip_ci"),
			Rules:     []autobuild.Rule{r},
		}
		checkRoundTrip(t, []rulesfile.Document{{Build: build}, {Build: build}})
	})
}

func TestAFailureToReadOrWriteIsReported(t *testing.T) {
	if _, err := rulesfile.Decode(broken{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read: got error %v, want %v", err, os.ErrClosed)
	}
	if err := rulesfile.Encode(broken{}, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write: got error %v, want %v", err, os.ErrClosed)
	}
}

// Broken is a closed file.
type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, os.ErrClosed }
func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

// FuzzDecode checks that errors have one line, and that Decode returns the same documents from the
// output of Encode.
func FuzzDecode(f *testing.F) {
	f.Add("version: 1\nrules:\n  - {source_type: tag, source: '/v/', tags: latest}\n")
	f.Add("a: [")
	f.Add("version: 1\nrepository: a/a\n---\nversion: 1\nenvironment: [A, B]\n")
	f.Add("version: 1\nrules:\n- build_args: {A: 0x10, B: true, C: '\\n', D: |\n    two\n    lines\n}\n")
	f.Add("version: 1\nimage: &a x\nengine: *a\n")
	files, err := filepath.Glob("../../../testdata/rules/*.yaml")
	if err != nil {
		f.Fatalf("glob: got error %v, want none", err)
	}
	if len(files) == 0 {
		f.Fatal("files: got none, want at least 1")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		documents, err := rulesfile.Decode(strings.NewReader(text))
		if err == nil && len(documents) == 0 {
			t.Error("decode: got neither an error nor a document, want one of them")
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Error("error: got several lines, want one")
		}
		if err == nil {
			checkRoundTrip(t, documents)
		}
	})
}

func TestNumbersAndBooleansKeepTheirText(t *testing.T) {
	r := decode(t, "version: 1\nrules:\n- {source_type: branch, source: 1.10, tags: 2.0, build_args: {A: 0x10, B: "+
		"true, C: 1e3, D: 2026-11-22}}\n")[0].Build.Rules[0]
	if r.Source != "1.10" {
		t.Errorf(`source: got %q, want "1.10"`, r.Source)
	}
	if r.Tags != "2.0" {
		t.Errorf(`tags: got %q, want "2.0"`, r.Tags)
	}
	want := map[string]string{"A": "0x10", "B": "true", "C": "1e3", "D": "2026-11-22"}
	if diff := cmp.Diff(want, r.BuildArgs); diff != "" {
		t.Error(diff)
	}
}
