package doctor

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
)

// G6: build steps of another version than the gateway's are named, once for each engine.
func TestCompareVersions(t *testing.T) {
	step := func(engine, version string, build int64) autobuild.RunnerVersion {
		return autobuild.RunnerVersion{Engine: engine, Version: version, Build: build}
	}
	for name, row := range map[string]struct {
		steps []autobuild.RunnerVersion
		want  []string
	}{
		"no build yet":  {nil, nil},
		"only embedded": {[]autobuild.RunnerVersion{step("embedded", "0", 3)}, nil},
		"the same":      {[]autobuild.RunnerVersion{step("drone", "1", 3)}, []string{"✓ versions     the last build steps have the gateway's version, 1"}},
		"another one": {
			[]autobuild.RunnerVersion{step("drone", "0", 3), step("drone", "0", 4), step("embedded", "0", 5), step("own", "2", 6)},
			[]string{
				"✓ versions     drone: the build step of build 3 had version 0, and this gateway has 1: use the step's image of the gateway's version",
				"✓ versions     own: the build step of build 6 had version 2, and this gateway has 1: use the step's image of the gateway's version",
			},
		},
	} {
		var got []string
		for _, f := range compareVersions("1", row.steps) {
			got = append(got, f.String())
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", name, diff)
		}
	}
}
