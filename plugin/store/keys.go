package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/seal"
)

// keyLease is the prefix of the leases that report keys. The key and the gateway's name follow,
// for example "key/2-9f86d081884c7d65/g6dpf7wqymcapjcdv5wpjdge3u".
const keyLease = "key/"

// Keys returns the keys of the key file, by id. The newest one is the last one of the file.
func (s *Store) Keys() (all []seal.KeyID, newest seal.KeyID) {
	return s.sealer.Keys(), s.sealer.Newest()
}

// SealingKey returns the id of the key that seals new values.
func (s *Store) SealingKey(ctx context.Context) (byte, error) { return sealingKey(ctx, s.read) }

// ReportKeys reads the key file again if it has changed, and stores for life which keys this
// gateway has. `slipway rekey` changes to a key when all live gateways have it. A call writes only if
// the keys have changed since the last one, or if always is true. changed reports the former.
//
// ReportKeys returns an error if the key file lacks the key that seals new values.
func (s *Store) ReportKeys(ctx context.Context, life time.Duration, always bool) (changed bool, err error) {
	current, err := s.SealingKey(ctx)
	if err != nil {
		return false, err
	}
	changed, err = s.sealer.Refresh(current)
	if err != nil || (!changed && !always) {
		return false, err
	}
	prefixes := keyLeases(s.sealer.Keys())
	return changed, s.tx(ctx, "report keys", func(tx *sql.Tx) error {
		// The key may have changed since it was read, and this gateway was not known to have the new one.
		current, err := sealingKey(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := s.sealer.Refresh(current); err != nil {
			return err
		}
		if err := s.dropKeyReports(ctx, tx, prefixes); err != nil {
			return err
		}
		for _, prefix := range prefixes {
			if _, err := tx.ExecContext(ctx, `INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
				ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until`,
				prefix+s.gateway, s.gateway, ms(s.Now().Add(life))); err != nil {
				return err
			}
		}
		return nil
	})
}

// keyLeases returns the names of the leases that report keys, without the name of the gateway.
func keyLeases(keys []seal.KeyID) []string {
	var all []string
	for _, k := range keys {
		all = append(all, keyLease+k.String()+"/")
	}
	return all
}

// dropKeyReports deletes the reports of keys that this gateway no longer has.
func (s *Store) dropKeyReports(ctx context.Context, tx *sql.Tx, prefixes []string) error {
	reported, err := queryAll(ctx, tx, scanID, `SELECT name FROM leases WHERE holder = $1`, s.gateway)
	if err != nil {
		return err
	}
	for _, name := range reported {
		prefix, isReport := strings.CutSuffix(name, s.gateway)
		if !isReport || !strings.HasPrefix(name, keyLease) || slices.Contains(prefixes, prefix) {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM leases WHERE name = $1`, name); err != nil {
			return err
		}
	}
	return nil
}

// A GatewayKeys is a live gateway that lacks a key.
type GatewayKeys struct {
	Gateway string // its name
	Reports bool   // it reports its keys; false = it runs an older version, or has just started
}

// GatewaysWithout returns the live gateways that lack a key.
func (s *Store) GatewaysWithout(ctx context.Context, key seal.KeyID) ([]GatewayKeys, error) {
	lacking, err := s.gatewaysWithout(ctx, s.read, key)
	if err != nil {
		return nil, fmt.Errorf("list gateways without key %d: %w", key.ID, err)
	}
	return lacking, nil
}

func (s *Store) gatewaysWithout(ctx context.Context, q querier, key seal.KeyID) ([]GatewayKeys, error) {
	scan := func(r scanner) (g GatewayKeys, err error) { err = r.Scan(&g.Gateway, &g.Reports); return g, err }
	return queryAll(ctx, q, scan, `SELECT g.holder, EXISTS (SELECT 1 FROM leases o
			WHERE o.holder = g.holder AND o.name LIKE $4 AND o.until > $1)
		FROM leases g WHERE g.name = $2 || g.holder AND g.until > $1
			AND NOT EXISTS (SELECT 1 FROM leases k WHERE k.name = $3 || g.holder AND k.until > $1)
		ORDER BY g.holder`,
		ms(s.Now()), autobuild.GatewayLease, keyLeases([]seal.KeyID{key})[0], keyLease+"%")
}

// A MissingKeyError means that live gateways lack a key.
type MissingKeyError struct {
	Key      seal.KeyID
	Gateways []GatewayKeys
}

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("%d gateways do not have key %d", len(e.Gateways), e.Key.ID)
}

// UseKey makes a key of the key file the one that seals new values, in all gateways at once. It
// returns a *MissingKeyError if a live gateway lacks the key. It changes nothing if the key is in use
// already.
func (s *Store) UseKey(ctx context.Context, key seal.KeyID) error {
	return s.tx(ctx, "use key", func(tx *sql.Tx) error {
		var check []byte
		err := tx.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'key_check'`).Scan(&check)
		if err != nil {
			return err
		}
		value, err := s.sealer.Open(keyCheckPlace, check)
		if err != nil || check[0] == key.ID {
			return err
		}
		lacking, err := s.gatewaysWithout(ctx, tx, key)
		if err != nil {
			return err
		}
		if len(lacking) > 0 {
			return &MissingKeyError{Key: key, Gateways: lacking}
		}
		return storeKeyCheck(ctx, tx, s.sealer, key.ID, value)
	})
}

func storeKeyCheck(ctx context.Context, tx *sql.Tx, sealer *seal.Sealer, key byte, value secret.Secret) error {
	check, err := sealer.Seal(key, keyCheckPlace, value)
	if err != nil {
		return err
	}
	if len(check) == 0 {
		return errors.New("the key check is empty: restore the database from a backup")
	}
	return execOne(ctx, tx, `UPDATE instance SET value = $1 WHERE name = 'key_check'`, check)
}
