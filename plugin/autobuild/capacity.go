package autobuild

import (
	"fmt"
	"strings"
)

// Limits are the largest numbers of active builds (starting or running) on one engine, of all gateways
// together. The zero value means no limits.
//
// The defaults are below the total, so that long builds of one repository or one workspace leave a
// place for others. A limit that is not below Total has no effect.
type Limits struct {
	Total    int // of all builds; 0 = no limit
	PerBuild int // of one automated build; 0 = half of Total, rounded up
	// PerWorkspace is the limit of one workspace. 0 = Total less one, at least 1, while automated builds
	// of other workspaces use the engine. Without others, the free place would be wasted.
	PerWorkspace int
	// Settings is the environment variable of Total, as SLIPWAY_CONCURRENCY. The names of the others
	// are it with _PER_BUILD and _PER_WORKSPACE.
	Settings string
}

// IsZero reports whether the engine has no limit at all.
func (l Limits) IsZero() bool { return l.Total <= 0 && l.PerBuild <= 0 && l.PerWorkspace <= 0 }

// A Share is the use of an engine by one automated build.
type Share struct {
	Repository string // full name, as acme/app
	Workspace  string // identifies the repository's workspace among all source providers
	Active     int    // builds that are starting or running on the engine
	Waiting    bool   // a queued build waits only for a place
}

// An EngineUse is the use of an engine at one moment, as a build sees it that may start there.
type EngineUse struct {
	Engine          string
	Own             Share   // of the build's automated build
	Others          []Share // of the other automated builds with active or waiting builds
	OtherWorkspaces bool    // automated builds of other workspaces than the build's use the engine
	OlderQueued     bool    // an older build of the same rule and ref is queued
}

// active returns the active builds of all automated builds, and those of each workspace.
func (u EngineUse) active() (total int, byWorkspace map[string]int) {
	total, byWorkspace = u.Own.Active, map[string]int{u.Own.Workspace: u.Own.Active}
	for _, s := range u.Others {
		total += s.Active
		byWorkspace[s.Workspace] += s.Active
	}
	return total, byWorkspace
}

// A WaitKind is the kind of reason why a build waits for a place on its engine.
type WaitKind string

// The kinds. The empty kind means that the build can start.
const (
	WaitPerBuild     WaitKind = "per_build"     // the limit of its automated build is reached
	WaitPerWorkspace WaitKind = "per_workspace" // the limit of its workspace is reached
	WaitTotal        WaitKind = "total"         // the limit of the engine is reached
	WaitOlder        WaitKind = "older"         // an older build of the same ref starts first
	WaitShare        WaitKind = "share"         // an automated build with fewer active builds starts first
)

// A Wait is the decision whether a build can start on its engine now. The zero value means that it can.
type Wait struct {
	Kind    WaitKind
	Active  int    // active builds that count toward Limit
	Limit   int    // 0 for WaitOlder and WaitShare
	Of      string // the owner of the places, as acme/app
	Setting string // environment variable of the limit
}

// String returns the reason, e.g. "2 of 2 places of acme/app are in use: SLIPWAY_CONCURRENCY_PER_BUILD".
func (w Wait) String() string {
	switch {
	case w.Kind == "":
		return "it can start"
	case w.Kind == WaitOlder:
		return "an older build of the same ref starts first"
	case w.Kind == WaitShare:
		return "an automated build with fewer active builds starts first"
	case w.Limit == 1 && w.Active == 1:
		return fmt.Sprintf("the only place of %s is in use: %s", w.Of, w.Setting)
	}
	return fmt.Sprintf("%d of %d places of %s are in use: %s", w.Active, w.Limit, w.Of, w.Setting)
}

// A CapacityError is an ErrUnavailable with the reason why a build waits for a place.
type CapacityError struct{ Wait Wait }

func (e *CapacityError) Error() string { return e.Wait.String() }

// Is makes errors.Is match ErrUnavailable.
func (e *CapacityError) Is(target error) bool { return target == ErrUnavailable }

// Decide returns whether a build can start now. The limits of its automated build and of its
// workspace come first, because such a build waits even if other places are free. An automated build
// that has reached a limit never makes another one wait.
func (l Limits) Decide(use EngineUse) Wait {
	total, byWorkspace := use.active()
	caps := func(s Share) Wait { return l.checkCaps(s, byWorkspace[s.Workspace], use.OtherWorkspaces) }
	if w := caps(use.Own); w.Kind != "" {
		return w
	}
	if l.Total > 0 && total >= l.Total {
		return Wait{Kind: WaitTotal, Active: total, Limit: l.Total, Of: "engine " + use.Engine, Setting: l.Settings}
	}
	// If the newer build of a ref started first, the older one could no longer push its tags. Without
	// limits, each build starts at once.
	if use.OlderQueued && !l.IsZero() {
		return Wait{Kind: WaitOlder}
	}
	if l.Total <= 0 {
		return Wait{} // no automated build takes a place from another one
	}
	for _, s := range use.Others {
		if s.Waiting && s.Active < use.Own.Active && caps(s).Kind == "" {
			return Wait{Kind: WaitShare} // does not name it: readers of the page may not see its repository
		}
	}
	return Wait{}
}

// checkCaps checks the limits of one automated build and of its workspace. active is the number of
// active builds of the workspace. others means that other workspaces use the engine.
func (l Limits) checkCaps(s Share, active int, others bool) Wait {
	if limit := l.MaxPerBuild(); limit > 0 && s.Active >= limit {
		return Wait{
			Kind: WaitPerBuild, Active: s.Active, Limit: limit, Of: s.Repository, Setting: l.Settings + "_PER_BUILD",
		}
	}
	if limit := l.perWorkspace(others); limit > 0 && active >= limit {
		owner, _, _ := strings.Cut(s.Repository, "/")
		return Wait{
			Kind: WaitPerWorkspace, Active: active, Limit: limit, Of: "workspace " + owner,
			Setting: l.Settings + "_PER_WORKSPACE",
		}
	}
	return Wait{}
}

// MaxPerBuild returns the limit of one automated build; 0 = none.
func (l Limits) MaxPerBuild() int {
	if l.PerBuild > 0 {
		return l.PerBuild
	}
	return (l.Total + 1) / 2
}

// perWorkspace returns the limit of one workspace; 0 = none. others means that other workspaces use
// the engine.
func (l Limits) perWorkspace(others bool) int {
	switch {
	case l.PerWorkspace > 0:
		return l.PerWorkspace
	case l.Total <= 0 || !others:
		return 0
	}
	return max(l.Total-1, 1)
}
