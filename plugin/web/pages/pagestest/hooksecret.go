package pagestest

import (
	"context"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
)

// ReplacedSecret is the secret that RotateSecret stores.
const ReplacedSecret = "canary-replaced-secret"

// RotateSecret replaces the stored secret. It sends no request.
func (r *Services) RotateSecret(ctx context.Context, repository autobuild.Repository) (catalog.Rotation, error) {
	if err := r.failure(); err != nil {
		return catalog.Rotation{}, err
	}
	h, err := r.Store.HookOf(ctx, repository)
	if err != nil {
		return catalog.Rotation{}, err
	}
	if Start.Before(h.PreviousUntil) {
		return catalog.Rotation{}, &catalog.RotatedRecently{Repository: repository.FullName, Until: h.PreviousUntil}
	}
	h, err = r.Store.ReplaceHookSecret(ctx, h, secret.New(ReplacedSecret), Start.Add(24*time.Hour))
	return catalog.Rotation{Hook: h}, err
}

// RestoreHooks changes nothing, because the sample has no dropped hooks.
func (r *Services) RestoreHooks(context.Context, string) error { return r.failure() }
