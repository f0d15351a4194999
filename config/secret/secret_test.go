package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"slipway/config/secret"
)

const canary = "c4nary-Value"

// holder is how secrets stand in the structs of the program.
type holder struct {
	Name  string
	Token secret.Secret
	Inner *holder
	Map   map[string]secret.Secret
}

func TestS5FormattingNeverShowsTheValue(t *testing.T) {
	s := secret.New(canary)
	h := holder{Name: "h", Token: s, Map: map[string]secret.Secret{"k": s}, Inner: &holder{Token: s}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10s", "%-10v", "%U", "%t", "%c", "%p"} {
		for what, v := range map[string]any{"secret": s, "pointer": &s, "struct": h, "slice": []secret.Secret{s}, "map": h.Map} {
			text := fmt.Sprintf(verb, v)
			hex := fmt.Sprintf("%x", canary)
			if strings.Contains(text, canary) || strings.Contains(strings.ToLower(text), hex) {
				t.Errorf("%s of a %s: got %s, want no value in it", verb, what, text)
			}
		}
	}
	if got := fmt.Sprintf("%v|%s|%#v", s, s, s); got != "***|***|***" {
		t.Errorf("printed secret: got %q, want ***|***|***", got)
	}
	if got := fmt.Sprint(secret.Secret{}); got != "" {
		t.Errorf("printed empty secret: got %q, want an empty string", got)
	}
	if err := fmt.Errorf("token %v: %w", s, errors.New("refused")); strings.Contains(err.Error(), canary) {
		t.Errorf("error with a secret: got %v, want no value in it", err)
	}
}

func TestEncodersNeverShowTheValue(t *testing.T) {
	s := secret.New(canary)
	text, err := json.Marshal(holder{Token: s, Map: map[string]secret.Secret{"k": s}})
	switch {
	case err != nil:
		t.Errorf("JSON: got error %v, want nil", err)
	case bytes.Contains(text, []byte(canary)):
		t.Errorf("JSON: got %s, want no value in it", text)
	case !bytes.Contains(text, []byte(`"Token":"***"`)):
		t.Errorf("JSON: got %s, want *** as the token", text)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("signed in", "token", s, "holder", holder{Token: s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("signed in", "token", s, "holder", holder{Token: s})
	if strings.Contains(log.String(), canary) || !strings.Contains(log.String(), "***") {
		t.Errorf("log line: got %s, want *** and no value", log.String())
	}
}

func TestTheValueIsTakenFromText(t *testing.T) {
	var h holder
	if err := json.Unmarshal([]byte(`{"Token":"`+canary+`"}`), &h); err != nil {
		t.Fatal(err)
	}
	if h.Token.Reveal() != canary {
		t.Errorf("decoded token: got %q, want %q", h.Token.Reveal(), canary)
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"", "", true}, {"", "a", false}} {
		if got := secret.New(c.a).Equal(secret.New(c.b)); got != c.want {
			t.Errorf("%q equals %q: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
	if !secret.New("").IsZero() || secret.New("a").IsZero() {
		t.Error("IsZero: got another result, want true for an empty secret only")
	}
}
