package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"slipway/config/program"
)

// hostile is text with control sequences, as a branch, a commit message or a payload may contain it.
const hostile = "a\x1b]0;title\x07b\x1b]52;c;cm0=\x07 \x1b[2J\u009b31m \u202eevil\u2066 \r\b\x00 \u200f\u2028 \U000E0041 é 日本"

// S9: a terminal shows the gateway's log as text, and programs read the original values.
func TestS9TheGatewaysLogIsText(t *testing.T) {
	var out bytes.Buffer
	log, err := newLogger(&out, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.WithField("branch", hostile).WithError(errors.New(hostile)).Error(hostile)
	checkPlain(t, out.String())
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"branch", "error", "msg"} {
		if line[field] != hostile {
			t.Errorf("%s read back: got %q, want %q", field, line[field], hostile)
		}
	}
}

// S9: the error of a command is plain text and keeps its lines.
func TestS9ErrorsOfCommandsAreText(t *testing.T) {
	var out bytes.Buffer
	program.ExitCode(&out, errors.New("two\nlines\tof "+hostile))
	checkPlain(t, out.String())
	if !strings.HasPrefix(out.String(), "slipway: two\nlines\tof a\\u001b]0;title\\u0007b") ||
		!strings.Contains(out.String(), `\udb40\udc41 é 日本`) {
		t.Errorf("output: got %q, want escaped control characters", out.String())
	}
}

func TestS9PlainTextIsTheSameJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var again string
		if err := json.Unmarshal([]byte(program.Plain(string(encoded))), &again); err != nil || again != text {
			t.Fatalf("%q parsed again: got %q, error %v, want %q", text, again, err, text)
		}
		checkPlain(t, program.Plain(text))
	})
}

func checkPlain(t interface{ Errorf(string, ...any) }, text string) {
	for _, r := range text {
		if !unicode.IsGraphic(r) && r != '\n' && r != '\t' {
			t.Errorf("text %q: got %U in it, want it escaped", text, r)
		}
	}
}
