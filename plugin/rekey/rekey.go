// Package rekey replaces the key that encrypts an installation's secrets, beside running gateways.
//
// The steps are: a new key in the key file, all live gateways have it, the database changes to it,
// all values are sealed again, all values open with it. Each step is durable before the next one
// begins, and the next run continues with the first step that is missing.
package rekey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/plugin/assembly"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

const (
	// gatewaysTimeout is how long Run waits for the gateways. The lease of one that was killed ends
	// sooner.
	gatewaysTimeout = 20 * time.Second
	// gatewaysInterval is the time between two looks at what the gateways report.
	gatewaysInterval = 200 * time.Millisecond
)

// Options configure a run.
type Options struct {
	Config config.Gateway
	Write  string        // file for the keys and a new one, in place of the key file; empty = none
	Wait   time.Duration // how long to wait for the gateways; 0 = 20 s
	// Step is called before and after each durable step. Tests stop the process there. nil = no calls.
	Step func(what string, done bool)
}

// A run is one run of the command on an open database.
type run struct {
	Options
	w      io.Writer
	store  *store.Store
	sealer *seal.Sealer
}

// Run replaces the key, or continues an earlier run. It changes nothing if the last run is complete
// and its old keys are still in the file. It returns an error with exit code 1 if a step is missing
// that an administrator has to do.
func Run(ctx context.Context, w io.Writer, o Options) error {
	return with(ctx, w, o, run.rekey)
}

// RemoveOldKeys removes keys from the key file that no stored secret needs.
func RemoveOldKeys(ctx context.Context, w io.Writer, o Options) error {
	return with(ctx, w, o, run.removeOldKeys)
}

func with(ctx context.Context, w io.Writer, o Options, f func(run, context.Context) error) error {
	if o.Step == nil {
		o.Step = func(string, bool) {}
	}
	if o.Wait == 0 {
		o.Wait = gatewaysTimeout
	}
	sealer, err := seal.LoadOrCreate(o.Config.Key, false)
	if err != nil {
		return err
	}
	options := assembly.Database(o.Config)
	options.Sealer, options.Commit = sealer, o.Step
	s, err := store.OpenBeside(ctx, options)
	if err != nil {
		return err
	}
	err = f(run{Options: o, w: w, store: s, sealer: sealer}, ctx)
	return errors.Join(err, s.Close())
}

func (r run) rekey(ctx context.Context) error {
	before, err := r.store.CheckSealed(ctx)
	if err != nil {
		return err
	}
	step, note := decide(r.sealer.Keys(), r.sealer.Newest().ID, before)
	r.printf("%s", note)
	switch step {
	case finished:
		return r.conclude(before)
	case makeKey:
		if err := r.makeKey(before); err != nil || r.Write != "" {
			return err
		}
	case resume:
	}
	key := r.sealer.Newest()
	if key.ID != before.Key {
		if err := r.change(ctx, key); err != nil {
			return err
		}
	}
	n, err := r.store.Reseal(ctx)
	if err != nil {
		return err
	}
	r.printf("%d values sealed with key %d", n, key.ID)
	after, err := r.store.CheckSealed(ctx)
	if err != nil {
		return err
	}
	return r.conclude(after)
}

// makeKey adds a new key to the key file.
func (r run) makeKey(check store.SealCheck) error {
	r.Step("add key", false)
	id, err := seal.AddKey(r.Config.Key, r.Write, slices.Collect(maps.Keys(check.Values)))
	if err != nil {
		return fmt.Errorf("%w: if the file cannot be replaced here, run `slipway rekey --write FILE`, replace the "+
			"key file of each gateway with FILE, and run `slipway rekey`", err)
	}
	r.Step("add key", true)
	if r.Write != "" {
		r.printf("wrote %s with key %d: replace %s of each gateway with it, and run `slipway rekey`",
			r.Write, id, r.Config.Key)
		return nil
	}
	if _, err := r.sealer.Refresh(check.Key); err != nil {
		return err
	}
	r.printf("added key %d to %s", id, r.Config.Key)
	return nil
}

// change makes a key the one that seals new values, once all live gateways have it.
func (r run) change(ctx context.Context, key seal.KeyID) error {
	timeout := time.After(r.Wait)
	tick := time.NewTicker(gatewaysInterval)
	defer tick.Stop()
	for {
		err := r.store.UseKey(ctx, key)
		var missing *store.MissingKeyError
		if err == nil {
			r.printf("new values are sealed with key %d", key.ID)
			return nil
		}
		if !errors.As(err, &missing) {
			return err
		}
		select {
		case <-tick.C:
		case <-timeout:
			return r.explainMissing(missing)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// explainMissing returns an error with the fix for each gateway.
func (r run) explainMissing(missing *store.MissingKeyError) error {
	var lines []string
	for _, g := range missing.Gateways {
		fix := "it does not report its keys: restart it with version " + config.Version
		if g.Reports {
			fix = fmt.Sprintf("it does not have key %d: copy %s to it", missing.Key.ID, r.Config.Key)
		}
		lines = append(lines, fmt.Sprintf("gateway %s: %s", g.Gateway, fix))
	}
	lines = append(
		lines,
		"then run `slipway rekey` again; the name of a gateway is in the file gateway of its SLIPWAY_DATA",
	)
	return cli.Exit(strings.Join(lines, "\n"), 1)
}

// conclude reports whether old keys can be removed.
func (r run) conclude(check store.SealCheck) error {
	if err := r.complete(check); err != nil {
		return err
	}
	old := otherKeys(r.sealer.Keys(), check.Key)
	r.printf("%d values are sealed with key %d, and none with another key", check.Values[check.Key], check.Key)
	if len(old) > 0 {
		r.printf("%s can be removed: keep a copy of it with older backups, then run `slipway rekey --remove-old-keys`",
			joinKeys(old))
	}
	return nil
}

// complete returns an error if values of old keys remain, or values that do not open.
func (r run) complete(check store.SealCheck) error {
	if len(check.Broken) > 0 {
		for _, b := range check.Broken {
			r.printf("✕ %v", b.Err)
		}
		return cli.Exit(fmt.Sprintf("stored secrets that do not open: %d: they were altered, moved to another row, or "+
			"their key is missing. Enter each again, or delete what it belongs to. Then run `slipway rekey` again. "+
			"Do not remove old keys before", len(check.Broken)), 1)
	}
	if n := check.Old(); n > 0 {
		return cli.Exit(fmt.Sprintf("%d values are sealed with an older key than key %d: run `slipway rekey`", n,
			check.Key), 1)
	}
	return nil
}

func (r run) removeOldKeys(ctx context.Context) error {
	check, err := r.store.CheckSealed(ctx)
	if err != nil {
		return err
	}
	if newest := r.sealer.Newest().ID; newest != check.Key {
		return cli.Exit(
			fmt.Sprintf("the newest key of the file is key %d, and the database uses key %d: run `slipway rekey`",
				newest, check.Key),
			1,
		)
	}
	if err := r.complete(check); err != nil {
		return err
	}
	r.Step("remove keys", false)
	removed, err := seal.KeepKey(r.Config.Key, check.Key)
	if err != nil {
		return err
	}
	r.Step("remove keys", true)
	if len(removed) == 0 {
		r.printf("%s has only key %d: nothing to remove", r.Config.Key, check.Key)
		return nil
	}
	r.printf(
		"removed %s from %s: copy the file to the other gateways, if there are any",
		joinKeys(removed),
		r.Config.Key,
	)
	return nil
}

func (r run) printf(format string, args ...any) { fmt.Fprintf(r.w, format+"\n", args...) }
