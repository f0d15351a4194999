package size_test

import (
	"strings"
	"testing"

	"slipway/config/size"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1000": 1000, "20GB": 20e9, "1.5 TB": 1.5e12, "4g": 4e9, "512MB": 512e6,
	} {
		if got, err := size.Parse(text); err != nil || got != want {
			t.Errorf("%q: got %d, error %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1GB", "GB", "20XB", "99999999999999999PB", "1 2"} {
		got, err := size.Parse(text)
		if err == nil || !strings.Contains(err.Error(), "for example 20GB") {
			t.Errorf("%q: got %d, error %v, want an error with an example", text, got, err)
		}
	}
}

func TestParseOptional(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1GB": 1e9} {
		if got, err := size.ParseOptional(text); err != nil || got != want {
			t.Errorf("%q: got %d, error %v, want %d", text, got, err, want)
		}
	}
	if got, err := size.ParseOptional("much"); err == nil {
		t.Errorf("a word: got %d, want an error", got)
	}
}

func TestFormat(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 4e9: "4 GB", 1_234_567_890: "1.235 GB", 20e12: "20 TB",
	} {
		if got := size.Format(bytes); got != want {
			t.Errorf("%d: got %q, want %q", bytes, got, want)
		}
	}
}
