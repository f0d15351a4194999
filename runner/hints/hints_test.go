package hints_test

import (
	"strings"
	"testing"
	"time"

	"slipway/runner/hints"
)

const goApp = `FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod .
RUN go mod download
COPY . .
RUN go build -o /app .
FROM debian:12
RUN apt-get update && \
    apt-get install -y ca-certificates
COPY --from=build /app /app
COPY extra /extra
`

// lines formats hints as "6:mount 10:link".
func lines(found []hints.Hint) string {
	var all []string
	for _, h := range found {
		kind := "link"
		if strings.Contains(h.Text, "type=cache") {
			kind = "mount"
		}
		all = append(all, string(rune('0'+h.Line/10))+string(rune('0'+h.Line%10))+":"+kind)
	}
	return strings.Join(all, " ")
}

func step(name string, cached bool, seconds int) hints.Step {
	return hints.Step{Name: name, Cached: cached, Took: time.Duration(seconds) * time.Second}
}

func TestHints(t *testing.T) {
	for _, c := range []struct {
		name, dockerfile, want string
		steps                  []hints.Step
	}{
		{"what would have helped", goApp, "06:mount 08:mount 10:link", []hints.Step{
			step("[build 1/6] FROM docker.io/library/golang:1.26", true, 0), step("[build 4/6] RUN go mod download", true, 0), step("[build 5/6] COPY . .", false, 1),
			step("[build 6/6] RUN go build -o /app .", false, 40), step("[stage-1 2/4] RUN apt-get", false, 10), step("[stage-1 3/4] COPY --from=build /app /app", false, 1),
			step("[stage-1 4/4] COPY extra /extra", false, 1),
		}},
		{"the first build", goApp, "", []hints.Step{step("[build 6/6] RUN go build -o /app .", false, 40), step("[stage-1 2/4] RUN apt-get", false, 10)}},
		{"everything is cached", goApp, "", []hints.Step{step("[build 6/6] RUN go build -o /app .", true, 0), step("[stage-1 3/4] COPY --from=build /app /app", true, 0)}},
		{"little to gain", goApp, "", []hints.Step{step("[build 5/6] COPY . .", true, 0), step("[build 6/6] RUN go build -o /app .", false, 2)}},
		{"only the files changed", goApp, "", []hints.Step{step("[stage-1 2/4] RUN apt-get", true, 0), step("[stage-1 3/4] COPY --from=build /app /app", false, 1)}},
		{"several platforms", goApp, "06:mount", []hints.Step{step("[linux/arm64 build 5/6] COPY . .", true, 0), step("[linux/arm64 build 6/6] RUN go build", false, 40)}},
		{"done already", "FROM a\nRUN --mount=type=cache,target=/root/.npm npm ci\nCOPY --link . .\n", "", []hints.Step{
			step("[1/3] FROM a", true, 0), step("[2/3] RUN npm ci", false, 9), step("[3/3] COPY . .", false, 1),
		}},
		{"one stage without an image", "FROM scratch\nCOPY a /\nRUN [\"pip\", \"install\", \"x\"]\nADD b /\n", "03:mount 04:link", []hints.Step{
			step("[1/3] COPY a /", true, 0), step("[2/3] RUN pip", false, 9), step("[3/3] ADD b /", false, 1),
		}},
		{"one stage with a name", "FROM scratch AS shell\nRUN npm ci\n", "02:mount", []hints.Step{step("[1/1] RUN npm ci", false, 9), step("[2/1] x", true, 0)}},
		{"one stage on a platform", "FROM scratch\nRUN npm ci\n", "02:mount", []hints.Step{step("[linux/arm64 1/1] RUN npm ci", false, 9), step("[2/1] x", true, 0)}},
		{"a script", "FROM a\nRUN <<EOF\nset -e\nnpm ci\nEOF\n", "02:mount", []hints.Step{step("[1/2] FROM a", true, 0), step("[2/2] RUN <<EOF", false, 9)}},
		{"steps of another Dockerfile", "FROM a\nRUN npm ci\n", "", []hints.Step{step("[1/9] FROM a", true, 0), step("[9/9] RUN npm ci", false, 9)}},
		{"no Dockerfile", "FROM\n", "", []hints.Step{step("[1/1] FROM", true, 0)}},
	} {
		if got := lines(hints.Find([]byte(c.dockerfile), c.steps)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNoMoreThanFiveHints(t *testing.T) {
	dockerfile := "FROM a\n" + strings.Repeat("RUN npm ci\n", 8)
	steps := []hints.Step{step("[1/9] FROM a", true, 0)}
	for _, i := range "23456789" {
		steps = append(steps, step("["+string(i)+"/9] RUN npm ci", false, 9))
	}
	switch got := hints.Find(
		[]byte(dockerfile),
		steps,
	); {
	case len(got) != 5:
		t.Errorf("hints: got %d, want 5: %+v", len(got), got)
	case got[0].Line != 2:
		t.Errorf("line of the first hint: got %d, want 2", got[0].Line)
	case !strings.Contains(got[0].Text, "9s"):
		t.Errorf("first hint: got %q, want its duration 9s in it", got[0].Text)
	case !strings.Contains(got[0].Text, "/root/.npm, npm ci would"):
		t.Errorf("first hint: got %q, want the cache folder of npm in it", got[0].Text)
	}
}

// FuzzFind checks that no Dockerfile of a repository makes Find panic.
func FuzzFind(f *testing.F) {
	f.Add([]byte(goApp), "[build 6/6] RUN go build")
	f.Add([]byte("FROM scratch\nRUN <<EOF\nnpm ci\nEOF\n"), "[ 1/10] RUN")
	f.Add([]byte("FROM a\nCOPY <<E /x\ny\nE\n"), "[a b 99999999999999999999/1] COPY")
	f.Fuzz(func(t *testing.T, dockerfile []byte, name string) {
		for _, h := range hints.Find(dockerfile, []hints.Step{{Name: name, Took: time.Minute}, {Name: "[1/2] FROM a", Cached: true}}) {
			if h.Text == "" || h.Line < 1 {
				t.Errorf("hint: got %+v, want a text and a line of 1 or more", h)
			}
		}
	})
}

// BuildKit applies such a comment to the linter of the parse.
func TestACheckCommentAboveAnInstruction(t *testing.T) {
	dockerfile := "FROM debian:12\nCOPY a a\n# check=skip=JSONArgsRecommended\nRUN npm install\n"
	found := hints.Find(
		[]byte(dockerfile),
		[]hints.Step{step("[2/3] COPY a a", true, 0), step("[3/3] RUN npm install", false, 9)},
	)
	if got, want := lines(found), "04:mount"; got != want {
		t.Errorf("hints: got %q, want %q", got, want)
	}
}
