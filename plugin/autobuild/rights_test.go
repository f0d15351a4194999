package autobuild_test

import (
	"testing"

	"slipway/plugin/autobuild"
)

func TestPermissionIncludes(t *testing.T) {
	order := []autobuild.Permission{autobuild.PermissionRead, autobuild.PermissionWrite, autobuild.PermissionAdmin}
	for i, p := range order {
		for j, other := range order {
			if got, want := p.Includes(other), i >= j; got != want {
				t.Errorf("%s includes %s: got %v, want %v", p, other, got, want)
			}
		}
	}
	for _, unknown := range []autobuild.Permission{autobuild.PermissionNone, "owner"} {
		if unknown.Includes(autobuild.PermissionRead) {
			t.Errorf("%q includes read: got true, want false", unknown)
		}
		if autobuild.PermissionAdmin.Includes(unknown) {
			t.Errorf("admin includes %q: got true, want false", unknown)
		}
	}
}
