package doctor

import (
	"context"
	"errors"
	"io/fs"

	"slipway/config"
	"slipway/plugin/assembly"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// database opens the database and its secrets, and reads all of it if whole is true. The returned store
// is nil if it cannot be used; otherwise the caller must close it.
func database(ctx context.Context, c config.Gateway, whole bool) (*store.Store, []Finding) {
	installed, err := store.Installed(ctx, assembly.Database(c))
	if err == nil && !installed {
		err = store.ErrNotInstalled
	}
	all := []Finding{{Check: checkDatabase, Note: "opens", Err: err}}
	if err != nil {
		return nil, append(all, keysSkipped())
	}
	if _, err := seal.LoadOrCreate(c.Key, false); err != nil {
		return nil, append(all, keyProblem(c, err))
	}
	s, err := assembly.OpenReadOnly(ctx, c)
	switch {
	case errors.Is(err, store.ErrWrongKey):
		return nil, append(all, keyProblem(c, err))
	case err != nil:
		return nil, []Finding{{Check: checkDatabase, Err: err}, keysSkipped()}
	}
	all = append(all, stored{config: c, store: s}.keys(ctx))
	if note, err := s.CheckDurability(ctx); note != "" || err != nil { // PostgreSQL
		all = append(all, Finding{Check: checkDurability, Note: note, Err: err})
	}
	if whole {
		all = append(all, content(ctx, s)...)
	}
	return s, all
}

func keysSkipped() Finding {
	return Finding{Check: checkKeys, Note: "not checked, because they need the database", Skipped: true}
}

// keyProblem returns the finding for a key file that cannot be used. The other errors contain their fix.
func keyProblem(c config.Gateway, err error) Finding {
	f := Finding{Check: checkKeys, Err: err}
	if errors.Is(err, fs.ErrNotExist) || (errors.Is(err, store.ErrWrongKey) && !errors.Is(err, store.ErrDamaged)) {
		f.Fix = "put the installation's key file back at SLIPWAY_KEY_FILE=" + c.Key
	}
	return f
}

// content checks the whole content of the database.
func content(ctx context.Context, s *store.Store) []Finding {
	var all []Finding
	for _, check := range []struct {
		name Check
		run  func(context.Context) (string, error)
	}{
		{checkIntegrity, s.CheckIntegrity},
		{checkForeignKeys, s.CheckForeignKeys},
		{checkRows, s.CheckRows},
	} {
		note, err := check.run(ctx)
		all = append(all, Finding{Check: check.name, Note: note, Err: err})
	}
	return all
}
