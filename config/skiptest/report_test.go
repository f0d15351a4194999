package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded are events of `go test -json`, without their times.
const recorded = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"    a_test.go:3: quiet\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"a","Test":"TestGood","Elapsed":0}
{"Action":"output","Package":"a","Test":"TestOff/one","Output":"    a_test.go:7: SKIPPED: the test needs git, which is absent\n"}
{"Action":"output","Package":"a","Test":"TestOff/one","Output":"    --- SKIP: TestOff/one (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestOff/one","Elapsed":0}
{"Action":"output","Package":"a","Test":"TestServer","Output":"    b_test.go:7: SKIPPED: set X to the program of a real server\n"}
{"Action":"skip","Package":"a","Test":"TestServer","Elapsed":0}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.002s\n"}
{"Action":"pass","Package":"a","Elapsed":0.002}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    b_test.go:3: got 1, want 2\n"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"b","Test":"TestBad","Elapsed":0}
{"Action":"output","Package":"b","Test":"TestPanic","Output":"panic: boom\n"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t0.002s\n"}
{"Action":"fail","Package":"b","Elapsed":0.002}
{"ImportPath":"c","Action":"build-output","Output":"c/c.go:1:1: syntax error\n"}
{"Action":"skip","Package":"d","Elapsed":0}
no event
`

func TestTheReportNamesSkippedTests(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	if err := r.readAll(strings.NewReader(recorded)); err != nil {
		t.Fatal(err)
	}
	unexpected := r.printSkips([]*regexp.Regexp{regexp.MustCompile(`of a real server$`)})
	want := `ok  	a	0.002s
    b_test.go:3: got 1, want 2
--- FAIL: TestBad (0.00s)
FAIL	b	0.002s
panic: boom
c/c.go:1:1: syntax error
no event
skipped tests: 2
  ✕ a TestOff/one: SKIPPED: the test needs git, which is absent
    a TestServer: SKIPPED: set X to the program of a real server
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if unexpected != 1 {
		t.Errorf("skipped tests that are not allowed: got %d, want 1", unexpected)
	}
}

// The exit code is that of `go test`, or 1 for a skipped test.
func TestTheExitCode(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GOFLAGS", "-mod=mod")
	write(t, "go.mod", "module a\n\ngo 1.24\n")
	write(t, "a_test.go", "package a\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\n"+
		"func TestA(t *testing.T) {\n\tif os.Getenv(\"A\") == \"fail\" {\n\t\tt.Fatal()\n\t}\n\tt.Skip(\"needs b\")\n}\n")
	write(t, "allowed", "# a comment\n\n^a TestA: needs b$\n")
	write(t, "other", "needs c\n")
	for name, c := range map[string]struct {
		allow    string
		strict   bool
		variable string
		want     int
	}{
		"a skip":                     {"", false, "", 0},
		"an allowed skip":            {"allowed", true, "", 0},
		"a skip that is not allowed": {"other", true, "", 1},
		"a failure":                  {"allowed", true, "fail", 1},
		"no file":                    {"absent", false, "", 1},
	} {
		t.Setenv("A", c.variable)
		if got, err := run(c.allow, c.strict, []string{"."}, t.Output()); got != c.want {
			t.Errorf("%s: got exit code %d and error %v, want %d", name, got, err, c.want)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
