package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/plugin/autobuild"
)

// SetRunnerVersion stores the version of the runner that claimed an attempt.
func (s *Store) SetRunnerVersion(ctx context.Context, buildID string, attempt int, version string) error {
	op := fmt.Sprintf("set version of the runner of build %s attempt %d", buildID, attempt)
	return s.tx(ctx, op, func(tx *sql.Tx) error {
		return execOne(ctx, tx, `UPDATE attempts SET runner_version = $3 WHERE build_id = $1 AND number = $2`,
			buildID, attempt, version)
	})
}

// RunnerVersions returns the version of the runner of the newest build of each automated build on each engine, by
// engine and build. Runners whose version was not stored are left out.
func (s *Store) RunnerVersions(ctx context.Context) ([]autobuild.RunnerVersion, error) {
	scan := func(r scanner) (v autobuild.RunnerVersion, err error) {
		err = r.Scan(&v.Engine, &v.Version, &v.Build)
		return v, err
	}
	all, err := queryAll(ctx, s.read, scan, `SELECT a.engine, a.runner_version, b.number
		FROM attempts a JOIN builds b ON b.id = a.build_id
		JOIN (SELECT x.engine AS engine, MAX(y.number) AS number
			FROM attempts x JOIN builds y ON y.id = x.build_id JOIN automated_builds w ON w.id = y.automated_build_id
			WHERE x.runner_version <> '' GROUP BY x.engine, y.automated_build_id) newest
		ON newest.engine = a.engine AND newest.number = b.number
		WHERE a.runner_version <> '' AND NOT EXISTS (SELECT 1 FROM attempts later
			WHERE later.build_id = a.build_id AND later.number > a.number AND later.runner_version <> '')
		ORDER BY a.engine, b.number`)
	if err != nil {
		return nil, fmt.Errorf("versions of runners: %w", err)
	}
	return all, nil
}
