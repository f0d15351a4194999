package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"slipway/config/secret"
)

// BeginForm claims a posted form by its key, for one session and until a time. claimed is false if the session
// sent the form before; location is then the redirect that answered it, and empty while its request runs.
// BeginForm also deletes expired forms.
func (s *Store) BeginForm(
	ctx context.Context, sessionID, key string, until time.Time,
) (claimed bool, location string, err error) {
	err = s.tx(ctx, "begin form", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM forms WHERE expires_at <= $1`, ms(s.Now())); err != nil {
			return err
		}
		added, err := tx.ExecContext(ctx, `INSERT INTO forms (session_id, form_key, location, expires_at)
			VALUES ($1, $2, '', $3) ON CONFLICT (session_id, form_key) DO NOTHING`, sessionID, key, ms(until))
		if err != nil {
			return err
		}
		rows, err := added.RowsAffected()
		if err != nil || rows > 0 {
			claimed = rows > 0
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT location FROM forms WHERE session_id = $1 AND form_key = $2`,
			sessionID, key).Scan(&location)
	})
	return claimed, location, err
}

// FormLocation returns the redirect that answered a claimed form, which is empty while its request runs. It only
// reads. It returns ErrNotFound if the form is not claimed, or if it has expired.
func (s *Store) FormLocation(ctx context.Context, sessionID, key string) (location string, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT location FROM forms
		WHERE session_id = $1 AND form_key = $2 AND expires_at > $3`, sessionID, key, ms(s.Now())).Scan(&location)
	if err != nil {
		return "", fmt.Errorf("answer to a form: %w", mapError(err))
	}
	return location, nil
}

// FinishForm stores the redirect that answered a claimed form. It returns nil if the form has expired, or if
// its session has ended.
func (s *Store) FinishForm(ctx context.Context, sessionID, key, location string) error {
	return s.tx(ctx, "finish form", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE forms SET location = $3 WHERE session_id = $1 AND form_key = $2`,
			sessionID, key, location)
		return err
	})
}

// DropForm releases a claimed form, so that it can be sent again.
func (s *Store) DropForm(ctx context.Context, sessionID, key string) error {
	return s.tx(ctx, "drop form", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM forms WHERE session_id = $1 AND form_key = $2`, sessionID, key)
		return err
	})
}

// SetFormResult stores the result of a form until a time, sealed. The form need not be claimed.
func (s *Store) SetFormResult(
	ctx context.Context, sessionID, key string, result secret.Secret, until time.Time,
) error {
	return s.tx(ctx, "store the result of a form", func(tx *sql.Tx) error {
		sealed, err := s.sealed(ctx, tx, "forms", "result", result, sessionID, key)
		if err != nil {
			return err
		}
		return execOne(ctx, tx, `INSERT INTO forms (session_id, form_key, location, result, expires_at)
			VALUES ($1, $2, '', $3, $4)
			ON CONFLICT (session_id, form_key) DO UPDATE SET result = excluded.result, expires_at = excluded.expires_at`,
			sessionID, key, sealed, ms(until))
	})
}

// FormResult returns the result of a session's form. It returns ErrNotFound if there is none, or if it has
// expired.
func (s *Store) FormResult(ctx context.Context, sessionID, key string) (secret.Secret, error) {
	result, err := s.formResult(ctx, s.read, sessionID, key)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("result of a form: %w", mapError(err))
	}
	return result, nil
}

// TakeFormResult returns the result of a session's form once, as FormResult does.
func (s *Store) TakeFormResult(ctx context.Context, sessionID, key string) (result secret.Secret, err error) {
	err = s.tx(ctx, "take the result of a form", func(tx *sql.Tx) error {
		if result, err = s.formResult(ctx, tx, sessionID, key); err != nil {
			return err
		}
		return execOne(
			ctx,
			tx,
			`UPDATE forms SET result = NULL WHERE session_id = $1 AND form_key = $2`,
			sessionID,
			key,
		)
	})
	return result, err
}

func (s *Store) formResult(ctx context.Context, q querier, sessionID, key string) (secret.Secret, error) {
	var sealed []byte
	err := q.QueryRowContext(ctx, `SELECT result FROM forms
		WHERE session_id = $1 AND form_key = $2 AND result IS NOT NULL AND expires_at > $3`, sessionID, key,
		ms(s.Now())).Scan(&sealed)
	if err != nil {
		return secret.Secret{}, err
	}
	return s.unsealed("forms", "result", sealed, sessionID, key)
}
