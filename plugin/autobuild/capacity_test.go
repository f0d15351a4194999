package autobuild_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/autobuild"
)

// app returns the share of acme/app with this number of active builds.
func app(active int) autobuild.Share {
	return autobuild.Share{Repository: "acme/app", Workspace: "acme", Active: active}
}

// others returns the shares of acme/lib and zeta/web.
func others(lib, web autobuild.Share) []autobuild.Share {
	lib.Repository, lib.Workspace = "acme/lib", "acme"
	web.Repository, web.Workspace = "zeta/web", "zeta"
	return []autobuild.Share{lib, web}
}

func TestDecideNamesTheLimitThatIsReached(t *testing.T) {
	type share = autobuild.Share
	const setting = "SLIPWAY_CONCURRENCY"
	tests := []struct {
		name   string
		limits autobuild.Limits
		use    autobuild.EngineUse
		want   autobuild.WaitKind
		reason string
	}{
		{"no limits", autobuild.Limits{}, autobuild.EngineUse{Own: app(90), OlderQueued: true}, "", "it can start"},
		{"a free engine", autobuild.Limits{Total: 1}, autobuild.EngineUse{Own: app(0)}, "", "it can start"},
		{"half of two places", autobuild.Limits{Total: 2}, autobuild.EngineUse{Own: app(1)}, autobuild.WaitPerBuild,
			"the only place of acme/app is in use: SLIPWAY_CONCURRENCY_PER_BUILD"},
		{"half of three places, rounded up", autobuild.Limits{Total: 3}, autobuild.EngineUse{Own: app(1)},
			"", "it can start"},
		{"two of three places", autobuild.Limits{Total: 3}, autobuild.EngineUse{Own: app(2)}, autobuild.WaitPerBuild,
			"2 of 2 places of acme/app are in use: SLIPWAY_CONCURRENCY_PER_BUILD"},
		{"a setting for automated builds", autobuild.Limits{Total: 9, PerBuild: 3}, autobuild.EngineUse{Own: app(3)},
			autobuild.WaitPerBuild, "3 of 3 places of acme/app are in use: SLIPWAY_CONCURRENCY_PER_BUILD"},
		{"a setting without a total", autobuild.Limits{PerBuild: 3}, autobuild.EngineUse{Own: app(3)},
			autobuild.WaitPerBuild, "3 of 3 places of acme/app are in use: SLIPWAY_CONCURRENCY_PER_BUILD"},
		{"all places less one of a workspace", autobuild.Limits{Total: 4},
			autobuild.EngineUse{Own: app(1), Others: others(share{Active: 2}, share{}), OtherWorkspaces: true},
			autobuild.WaitPerWorkspace,
			"3 of 3 places of workspace acme are in use: SLIPWAY_CONCURRENCY_PER_WORKSPACE"},
		{"the only workspace", autobuild.Limits{Total: 4},
			autobuild.EngineUse{Own: app(1), Others: others(share{Active: 2}, share{})}, "", "it can start"},
		{"a setting for the only workspace", autobuild.Limits{Total: 4, PerWorkspace: 3},
			autobuild.EngineUse{Own: app(1), Others: others(share{Active: 2}, share{})}, autobuild.WaitPerWorkspace,
			"3 of 3 places of workspace acme are in use: SLIPWAY_CONCURRENCY_PER_WORKSPACE"},
		{"a full engine", autobuild.Limits{Total: 4},
			autobuild.EngineUse{Own: app(1), Others: others(share{Active: 1}, share{Active: 2}), OtherWorkspaces: true},
			autobuild.WaitTotal, "4 of 4 places of engine embedded are in use: SLIPWAY_CONCURRENCY"},
		{"a full engine of one place", autobuild.Limits{Total: 1},
			autobuild.EngineUse{Own: app(0), Others: others(share{}, share{Active: 1}), OtherWorkspaces: true},
			autobuild.WaitTotal, "the only place of engine embedded is in use: SLIPWAY_CONCURRENCY"},
		{"an older build", autobuild.Limits{Total: 4}, autobuild.EngineUse{Own: app(1), OlderQueued: true},
			autobuild.WaitOlder, "an older build of the same ref starts first"},
		{"an automated build with fewer active builds", autobuild.Limits{Total: 6},
			autobuild.EngineUse{Own: app(1), Others: others(share{Waiting: true}, share{}), OtherWorkspaces: true},
			autobuild.WaitShare, "an automated build with fewer active builds starts first"},
		{"as many active builds", autobuild.Limits{Total: 6},
			autobuild.EngineUse{Own: app(1), Others: others(share{Active: 1, Waiting: true}, share{})},
			"", "it can start"},
		{"without a total there is no order of automated builds", autobuild.Limits{PerBuild: 3},
			autobuild.EngineUse{Own: app(1), Others: others(share{Waiting: true}, share{})}, "", "it can start"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.limits.Settings, tt.use.Engine = setting, "embedded"
			got := tt.limits.Decide(tt.use)
			if got.Kind != tt.want {
				t.Errorf("decision: got %q (%s), want %q", got.Kind, got, tt.want)
			}
			if got.String() != tt.reason {
				t.Errorf("reason: got %q, want %q", got, tt.reason)
			}
		})
	}
}

// A queued build that has reached a limit cannot start, so it must not keep a place free.
func TestDecideIgnoresWaitingBuildsThatReachedALimit(t *testing.T) {
	limits := autobuild.Limits{Total: 6, PerWorkspace: 3}
	use := autobuild.EngineUse{
		Own: autobuild.Share{Repository: "zeta/web", Workspace: "zeta", Active: 1},
		Others: []autobuild.Share{
			{Repository: "acme/app", Workspace: "acme", Active: 3},
			{Repository: "acme/lib", Workspace: "acme", Waiting: true}, // fewer active builds, but a full workspace
		},
		OtherWorkspaces: true,
	}
	if diff := cmp.Diff(autobuild.Wait{}, limits.Decide(use)); diff != "" {
		t.Errorf("beside a full workspace (-want +got):\n%s", diff)
	}
	use.Others[0].Active = 2
	if got := limits.Decide(use).Kind; got != autobuild.WaitShare {
		t.Errorf("when the workspace has a free place: got %q, want %q", got, autobuild.WaitShare)
	}
}

func TestACapacityErrorIsUnavailable(t *testing.T) {
	err := &autobuild.CapacityError{Wait: autobuild.Wait{Kind: autobuild.WaitOlder}}
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("%v: got an error that is not ErrUnavailable, want one that is", err)
	}
}
