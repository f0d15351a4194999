package idmap

import (
	"strings"
	"testing"
)

func TestSubordinate(t *testing.T) {
	const enough = "         0       4242          1\n         1     500000      65536\n"
	for name, tc := range map[string]struct {
		users, groups string
		want          IDs
		err           string
	}{
		"newuidmap":       {enough, enough, IDs{1, 65535}, ""},
		"one range":       {"0 100000 65536", "0 100000 65536", IDs{1, 65535}, ""},
		"few groups":      {enough, "0 4242 1\n", IDs{}, "this user namespace has 1 IDs, and sandboxes need 65536: add a line"},
		"a gap":           {"0 4242 1\n2 500000 65536\n", enough, IDs{}, "has 1 IDs"},
		"the user alone":  {"0 4242 1\n", "0 4242 1\n", IDs{}, "/etc/subuid"},
		"an unread table": {"", "", IDs{}, "has 0 IDs"},
	} {
		got, err := subordinate(tc.users, tc.groups)
		if got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: got error %v, want %q in it", name, err, tc.err)
		}
	}
}
