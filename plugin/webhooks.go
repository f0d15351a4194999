package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/discard"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/store"
)

func webhooksCommand() *cli.Command {
	return &cli.Command{
		Name:  "webhooks",
		Usage: "manage the webhooks of this installation",
		Commands: []*cli.Command{{
			Name:      "rotate",
			Usage:     "replace the secrets of webhooks",
			ArgsUsage: "[--all | REPOSITORY...]",
			Description: "Writes a new secret for each webhook to the database and to Bitbucket. The old one is\n" +
				"accepted for 24 hours more. It takes the settings and the key of the gateway, which may\n" +
				"run or be stopped. --all skips webhooks that were rotated in the last 24 hours, so\n" +
				"that the command can be repeated after an interruption.",
			Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "rotate the webhooks of all repositories"}},
			Action: func(ctx context.Context, cmd *cli.Command) error {
				names := cmd.Args().Slice()
				if cmd.Bool("all") == (len(names) > 0) {
					return cli.Exit("give repositories, like acme/app, or --all", 2)
				}
				return rotateWebhooks(ctx, cmd.Root().Writer, os.Environ(), names)
			},
		}},
	}
}

// rotateWebhooks rotates the webhooks of the named repositories, of all if there are no names. It
// prints a line for each, and fails if Bitbucket does not have a new secret afterwards.
func rotateWebhooks(ctx context.Context, w io.Writer, environ []string, names []string) error {
	c, err := config.LoadGateway(environ)
	if err != nil {
		return err
	}
	s, err := assembly.OpenBeside(ctx, c)
	if err != nil {
		return err
	}
	err = rotateIn(ctx, w, s, c, names)
	return errors.Join(err, s.Close())
}

func rotateIn(ctx context.Context, w io.Writer, s *store.Store, c config.Gateway, names []string) error {
	hooks, err := hooksNamed(ctx, s, names)
	if err != nil {
		return err
	}
	log := discard.Logger() // each result is printed
	keeper := catalog.New(catalog.Options{
		Store:     s,
		Connector: assembly.Accounts(c, s, log),
		URL:       c.URL,
		Now:       s.Now,
		Log:       log,
	})
	var limited *autobuild.RateLimitError
	failed := 0
	for i, h := range hooks {
		rotation, err := keeper.RotateSecret(ctx, h.Repository)
		line, ok := rotationLine(h.Repository.FullName, rotation, err, len(names) == 0)
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		if !ok {
			failed++
		}
		if i+1 < len(hooks) && errors.As(rotation.Refusal, &limited) {
			return cli.Exit(
				fmt.Sprintf(
					"%d webhooks left: the rate limit of Bitbucket is used up: run the command again later",
					len(hooks)-i-1,
				),
				1,
			)
		}
	}
	if failed > 0 {
		return cli.Exit(fmt.Sprintf("%d of %d webhooks not rotated", failed, len(hooks)), 1)
	}
	return nil
}

// hooksNamed lists the hooks of the named repositories, all if there are no names. A name without
// a hook is an error: nothing is rotated then.
func hooksNamed(ctx context.Context, s *store.Store, names []string) ([]autobuild.Hook, error) {
	all, err := s.HooksWithoutSecrets(ctx)
	if err != nil || len(names) == 0 {
		return all, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(h autobuild.Hook) bool { return h.Repository.FullName == name }) {
			return nil, fmt.Errorf("rotate webhook of %s: no such repository: check the name, like acme/app", name)
		}
	}
	return slices.DeleteFunc(
		all,
		func(h autobuild.Hook) bool { return !slices.Contains(names, h.Repository.FullName) },
	), nil
}

// rotationLine returns the result of a rotation as one line, and whether no further attempt is needed.
// With lenient, a webhook that was rotated in the last 24 hours needs none.
func rotationLine(name string, r catalog.Rotation, err error, lenient bool) (line string, ok bool) {
	until := r.Hook.PreviousUntil.UTC().Format("2006-01-02 15:04 MST")
	var recently *catalog.RotatedRecently
	switch {
	case errors.As(err, &recently) && lenient:
		return fmt.Sprintf("- %s: rotated less than 24 hours ago", name), true
	case err != nil:
		return fmt.Sprintf("✕ %s: %v", name, err), false
	case r.Hook.State != autobuild.HookActive && r.Refusal != nil:
		return fmt.Sprintf(
			"✕ %s: stored, but Bitbucket refuses it: %v: paste the secret that the automated build's page shows, until %s",
			name,
			r.Refusal,
			until,
		), false
	case r.Hook.State != autobuild.HookActive:
		return fmt.Sprintf(
			"! %s: stored; if the webhook was added by hand, paste the secret that the automated build's page shows, until %s",
			name,
			until,
		), true
	case r.Refusal != nil:
		return fmt.Sprintf(
			"✕ %s: stored, but Bitbucket does not have it yet: %v: the gateway writes it at its next check; the old secret is accepted until %s",
			name,
			r.Refusal,
			until,
		), false
	}
	return fmt.Sprintf("✓ %s: rotated; the old secret is accepted until %s", name, until), true
}
