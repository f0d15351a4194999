package service

import "testing"

func TestTheGatewaysUserIsANameOrANumber(t *testing.T) {
	for text, want := range map[string]int{"": 0, "root": 0, "64500": 64500, "daemon": 1} {
		if got, err := parseGatewayUser(text); err != nil || got != want {
			t.Errorf("user %q: got %d, error %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"no-such-user", "-1", "1:2", "4294967295"} {
		if got, err := parseGatewayUser(text); err == nil {
			t.Errorf("user %q: got %d, want an error", text, got)
		}
	}
}
