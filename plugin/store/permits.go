package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"slipway/plugin/autobuild"
)

// Permit requests to move tags of the build's image. tags belong to the build's rule; extra are
// other tags. Permit grants all of them, or none if a build of a newer transition of the same ref
// got a permit for one of them. Different refs and rules may share a tag; the last one wins. A
// repeated request has no further effect.
//
// If granted is false, holder is the newer build; it is zero if that build was pruned. Permit
// returns an autobuild.FieldError if tags contains a tag of another build, or if the build would
// have more than autobuild.MaxExtraTags. It returns ErrFenced if the attempt has ended.
func (s *Store) Permit(
	ctx context.Context, buildID string, attempt int, tags, extra []string,
) (granted bool, holder autobuild.Build, err error) {
	op := fmt.Sprintf("permit for build %s attempt %d", buildID, attempt)
	err = s.tx(ctx, op, func(tx *sql.Tx) error {
		_, b, err := s.loadActive(ctx, tx, buildID, attempt)
		if err != nil {
			return err
		}
		all, err := addExtraTags(&b, tags, extra)
		if err != nil {
			return err
		}
		var held bool
		if holder, held, err = findHolder(ctx, tx, b, all); held || err != nil {
			return err
		}
		granted = true
		if err := storeExtraTags(ctx, tx, b); err != nil {
			return err
		}
		return s.storePermits(ctx, tx, b, attempt, all)
	})
	if err != nil {
		return false, autobuild.Build{}, err
	}
	return granted, holder, nil
}

// addExtraTags adds the extra tags to the build, and returns all requested tags, sorted.
func addExtraTags(b *autobuild.Build, tags, extra []string) ([]string, error) {
	if !b.Publish {
		return nil, autobuild.FieldError{Field: "tags", Message: "this build publishes nothing and needs no permit"}
	}
	for i, tag := range tags {
		if !slices.Contains(b.Tags, tag) {
			return nil, autobuild.FieldError{
				Field:   fmt.Sprintf("tags[%d]", i),
				Message: fmt.Sprintf("%.130q is not a tag of this build: request it as an extra tag", tag),
			}
		}
	}
	all := slices.Clone(tags)
	for i, tag := range extra {
		all = append(all, tag)
		permitted := func(e autobuild.ExtraTag) bool { return e.Tag == tag }
		if slices.Contains(b.Tags, tag) || slices.ContainsFunc(b.ExtraTags, permitted) {
			continue
		}
		if len(b.ExtraTags) == autobuild.MaxExtraTags {
			return nil, autobuild.FieldError{
				Field: fmt.Sprintf("extra_tags[%d]", i),
				Message: fmt.Sprintf("this build has %d extra tags already, the maximum: push fewer tags",
					autobuild.MaxExtraTags),
			}
		}
		b.ExtraTags = append(b.ExtraTags, autobuild.ExtraTag{Tag: tag})
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func storeExtraTags(ctx context.Context, tx *sql.Tx, b autobuild.Build) error {
	if len(b.ExtraTags) == 0 {
		return nil
	}
	return execOne(ctx, tx, `UPDATE builds SET extra_tags = $2 WHERE id = $1`, b.ID, asJSON(b.ExtraTags))
}

// storePushedTags stores the tags that a runner pushed. It returns an autobuild.FieldError if a
// tag is not one of the build, or is an extra tag without a permit.
func storePushedTags(ctx context.Context, tx *sql.Tx, b *autobuild.Build, f autobuild.Finish) error {
	for i, tag := range f.Tags {
		if !b.Publish || !slices.Contains(b.Tags, tag) {
			return autobuild.FieldError{
				Field:   fmt.Sprintf("tags[%d]", i),
				Message: fmt.Sprintf("%.130q is not a tag of this build: report it in extra_tags", tag),
			}
		}
	}
	for i, reported := range f.ExtraTags {
		at := slices.IndexFunc(b.ExtraTags, func(e autobuild.ExtraTag) bool { return e.Tag == reported.Tag })
		if at < 0 {
			return autobuild.FieldError{
				Field:   fmt.Sprintf("extra_tags[%d]", i),
				Message: fmt.Sprintf("%.130q has no permit: request one before the push", reported.Tag),
			}
		}
		b.ExtraTags[at] = reported
	}
	if len(f.ExtraTags) == 0 {
		return nil
	}
	return storeExtraTags(ctx, tx, *b)
}

// checkTags returns an *autobuild.RefusedError if a newer build holds a tag of the build.
func checkTags(ctx context.Context, q querier, b autobuild.Build) error {
	if !b.Publish {
		return nil
	}
	holder, held, err := findHolder(ctx, q, b, b.Tags)
	if err != nil || !held {
		return err
	}
	newer := "a newer build"
	if holder.ID != "" {
		newer = fmt.Sprintf("the newer build %d", holder.Number)
	}
	return &autobuild.RefusedError{Message: fmt.Sprintf(
		"Build %d is not retried: %s has moved its tags, and an older build does not move them back. "+
			"Choose Rebuild to build its commit again with the current rule.", b.Number, newer)}
}

// findHolder returns the build of a newer transition of b's ref that got a permit for one of the
// tags. held is false if there is none. The build is zero if it was pruned.
func findHolder(
	ctx context.Context, q querier, b autobuild.Build, tags []string,
) (holder autobuild.Build, held bool, err error) {
	for _, tag := range tags {
		newer, err := newerHolder(ctx, q, b, tag)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return autobuild.Build{}, false, err
		}
		holder, err = buildByID(ctx, q, newer)
		if errors.Is(err, sql.ErrNoRows) {
			return autobuild.Build{}, true, nil
		}
		return holder, true, err
	}
	return autobuild.Build{}, false, nil
}

// newerHolder returns the build of a newer transition of b's ref that got a permit for the tag,
// or sql.ErrNoRows.
func newerHolder(ctx context.Context, q querier, b autobuild.Build, tag string) (buildID string, err error) {
	err = q.QueryRowContext(ctx, `SELECT build_id FROM permits WHERE image = $1 AND tag = $2
		AND provider_id = $3 AND repository_id = $4 AND ref_kind = $5 AND ref_name = $6 AND seq > $7`,
		b.Image, tag, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.Seq).Scan(&buildID)
	return buildID, err
}

func (s *Store) storePermits(ctx context.Context, tx *sql.Tx, b autobuild.Build, attempt int, tags []string) error {
	for _, tag := range tags {
		_, err := tx.ExecContext(ctx,
			`INSERT INTO permits (image, tag, provider_id, repository_id, ref_kind, ref_name, seq, build_id,
				attempt, granted_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (image, tag, provider_id, repository_id, ref_kind, ref_name)
			DO UPDATE SET seq = excluded.seq, build_id = excluded.build_id, attempt = excluded.attempt,
			granted_at = excluded.granted_at`,
			b.Image, tag, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.Seq, b.ID, attempt,
			ms(s.Now()))
		if err != nil {
			return err
		}
	}
	return nil
}
