package buildservice_test

import (
	"testing"

	"slipway/config/buildservice"
)

// The kernel has 32 bits for a user: 4294967296 would be root, and 4294967295 means no change.
func TestParseUser(t *testing.T) {
	uid, gid, err := buildservice.ParseUser("7000:7001")
	if uid != 7000 || gid != 7001 || err != nil {
		t.Errorf("7000:7001: got %d, %d, error %v, want both numbers", uid, gid, err)
	}
	for _, text := range []string{"65278:7000", "65535:7000", "2147483391:7000"} {
		if _, _, err := buildservice.ParseUser(text); err != nil {
			t.Errorf("%q, beside nobody: got error %v, want none", text, err)
		}
	}
	for _, text := range []string{
		"", "7000", "7000:", ":7000", "0:7000", "7000:0", "-1:7000", "a:b", "7000:7000:7000",
		"4294967296:7000", "7000:4294967296", "4294967295:7000", "2147483648:7000",
		"65534:7000", "65279:7000", "7000:65534", "2147483647:7000",
	} {
		if uid, gid, err := buildservice.ParseUser(text); err == nil {
			t.Errorf("%q: got %d, %d, want an error", text, uid, gid)
		}
	}
}
