package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"slipway/config"
	"slipway/config/buildservice"
	"slipway/plugin/assembly"
	"slipway/plugin/engine/embedded"
)

// gatewayUser finds the gateway's user: the owner of its data directory, which no other user may change.
// Root is no problem for builds, so it is a hint.
func gatewayUser(data string) []Finding {
	info, err := os.Stat(data)
	if err != nil {
		return nil // the disk's finding reports it
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return nil
	case info.Mode().Perm()&0o002 != 0:
		return []Finding{{
			Check: checkUser,
			Err:   fmt.Errorf("SLIPWAY_DATA=%s: each user of this machine can replace its files", data),
			Fix:   "run chmod o-w on it",
		}}
	case owner.Uid == 0:
		return []Finding{{Check: checkUser, Note: "the gateway runs as root: " + assembly.FixRoot}}
	}
	return []Finding{{Check: checkUser, Note: fmt.Sprintf("the gateway is not root (user %d)", owner.Uid)}}
}

// isolation reports how the builder service isolates the code of repositories.
func isolation(ctx context.Context, c config.Gateway) []Finding {
	if !slices.Contains(c.Engines(), embedded.Name) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	f := Finding{Check: checkIsolation}
	level, err := buildservice.Client{Socket: assembly.ServiceSocket(c)}.Level(ctx)
	switch {
	case err != nil && c.BuilderService == "":
		f.Skipped = true
		f.Note = "not known: the gateway's builder service does not run: start the gateway, and see its log"
	case err != nil:
		f.Err = fmt.Errorf("SLIPWAY_BUILDER_SERVICE=%s: %w", c.BuilderService, err)
		f.Fix = "start slipway-builder-service, and check its --gateway-user and --socket"
	default:
		f.Note = describeLevel(level)
	}
	return []Finding{f}
}

func describeLevel(level buildservice.Level) string {
	text := "full: build hooks run in a sandbox"
	if level.Hooks != buildservice.LevelFull {
		text = level.Hooks + ": build hooks do not run: " + level.Why
	}
	if len(level.NotHeld) > 0 {
		text += "; limits without effect: " + strings.Join(level.NotHeld, "; ")
	}
	return text
}
