package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

const (
	// maxChunk is the maximum size of one row of a log, in bytes.
	maxChunk = 256 << 10
	// chunksAtOnce is the maximum number of rows that one read loads.
	chunksAtOnce = 16
	// loggedAtOnce is the maximum number of builds that LoggedBuilds returns.
	loggedAtOnce = 1000
)

// WriteLog appends to the log of an attempt. It calls write with the end of the log, and appends
// the returned data. Among all gateways, one caller at a time writes to a log.
func (s *Store) WriteLog(
	ctx context.Context, buildID string, attempt int, write func(autobuild.LogEnd) (autobuild.LogAddition, error),
) error {
	op := fmt.Sprintf("write log of build %s attempt %d", buildID, attempt)
	if s.write == nil {
		return fmt.Errorf("%s: %w", op, errReadOnly)
	}
	// This transaction does not wait for other writers: logs grow concurrently with everything
	// else. The row of the log is the lock.
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	if err := writeLog(ctx, tx, buildID, attempt, write); err != nil {
		return fmt.Errorf("%s: %w", op, mapError(err))
	}
	if err := s.commitTx(op, tx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func writeLog(
	ctx context.Context, tx *sql.Tx, buildID string, attempt int,
	write func(autobuild.LogEnd) (autobuild.LogAddition, error),
) error {
	var end autobuild.LogEnd
	err := tx.QueryRowContext(ctx, `INSERT INTO logs (build_id, attempt, size, own, mid_line)
		VALUES ($1, $2, 0, 0, FALSE)
		ON CONFLICT (build_id, attempt) DO UPDATE SET size = logs.size RETURNING size, own, mid_line`,
		buildID, attempt).Scan(&end.Size, &end.Own, &end.MidLine)
	if err != nil {
		return err
	}
	add, err := write(end)
	if err != nil || len(add.Data) == 0 {
		return err
	}
	for data := add.Data; len(data) > 0; {
		chunk := data[:min(len(data), maxChunk)]
		data = data[len(chunk):]
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO log_chunks (build_id, attempt, position, data) VALUES ($1, $2, $3, $4)`, buildID, attempt,
			end.Size, chunk); err != nil {
			return err
		}
		end.Size += int64(len(chunk))
	}
	return execOne(ctx, tx, `UPDATE logs SET size = $3, own = $4, mid_line = $5 WHERE build_id = $1 AND attempt = $2`,
		buildID, attempt, end.Size, end.Own+add.Own, add.Data[len(add.Data)-1] != '\n')
}

// ReadLog returns up to max bytes of an attempt's log from an offset. It returns no data at the
// end of the log, or if nothing was written.
func (s *Store) ReadLog(ctx context.Context, buildID string, attempt int, offset int64, max int) ([]byte, error) {
	type chunk struct {
		position int64
		data     []byte
	}
	scan := func(r scanner) (c chunk, err error) {
		err = r.Scan(&c.position, &c.data)
		return c, err
	}
	chunks, err := queryAll(
		ctx,
		s.read,
		scan,
		`SELECT position, data FROM log_chunks WHERE build_id = $1 AND attempt = $2
		AND position >= (SELECT COALESCE(MAX(position), 0) FROM log_chunks WHERE build_id = $1 AND attempt = $2
		AND position <= $3)
		ORDER BY position LIMIT $4`,
		buildID,
		attempt,
		offset,
		chunksAtOnce,
	)
	if err != nil {
		return nil, fmt.Errorf("read log of build %s attempt %d: %w", buildID, attempt, err)
	}
	var data []byte
	for _, c := range chunks {
		if skip := offset - c.position; skip < int64(len(c.data)) && len(data) < max {
			data = append(data, c.data[skip:]...)
			offset = c.position + int64(len(c.data))
		}
	}
	return data[:min(len(data), max)], nil
}

// LogSize returns the size of an attempt's log in bytes, or 0 without a log.
func (s *Store) LogSize(ctx context.Context, buildID string, attempt int) (size int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT size FROM logs WHERE build_id = $1 AND attempt = $2`, buildID, attempt).
		Scan(&size)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("size of the log of build %s attempt %d: %w", buildID, attempt, err)
	}
	return size, nil
}

// LoggedBuilds returns the ids of builds that have logs, in their order: up to 1,000 after the given id.
func (s *Store) LoggedBuilds(ctx context.Context, after string) ([]string, error) {
	ids, err := queryAll(ctx, s.read, scanID, `SELECT DISTINCT build_id FROM logs WHERE build_id > $1
		ORDER BY build_id LIMIT $2`, after, loggedAtOnce)
	if err != nil {
		return nil, fmt.Errorf("list builds with logs: %w", err)
	}
	return ids, nil
}

// RemoveLogs deletes the logs of a build.
func (s *Store) RemoveLogs(ctx context.Context, buildID string) error {
	return s.tx(ctx, "remove logs of build "+buildID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM logs WHERE build_id = $1`, buildID)
		return err
	})
}
