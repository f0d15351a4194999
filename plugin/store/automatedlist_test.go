package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"modernc.org/sqlite"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/seal"
)

// A countingConnector counts the queries of its connections.
type countingConnector struct {
	driver.Connector
	queries *atomic.Int64
}

func (c countingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	return countingConn{conn, c.queries}, err
}

// A countingConn has only the methods of Conn, so that database/sql prepares each query.
type countingConn struct {
	driver.Conn
	queries *atomic.Int64
}

func (c countingConn) Prepare(query string) (driver.Stmt, error) {
	c.queries.Add(1)
	return c.Conn.Prepare(query)
}

// openCounting opens a store whose reading connections count their queries.
func openCounting(t *testing.T) (*Store, *atomic.Int64) {
	t.Helper()
	dir := t.TempDir()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	must.Succeed(t, err)
	path := filepath.Join(dir, "slipway.db")
	s, err := Open(t.Context(), Options{Path: path, Sealer: sealer})
	must.Succeed(t, err)
	connector, err := sqlite.NewConnector(dsn(path, "query_only(1)"))
	must.Succeed(t, err)
	var queries atomic.Int64
	must.Succeed(t, s.read.Close())
	s.read = sql.OpenDB(countingConnector{connector, &queries})
	t.Cleanup(func() { must.Succeed(t, s.Close()) })
	return s, &queries
}

// A list makes as many queries for 60 rows as for one, and decrypts nothing.
func TestListsMakeTheSameQueriesForMoreRows(t *testing.T) {
	s, queries := openCounting(t)
	admin := s.As(autobuild.Viewer{Administrator: true})
	counts := func() map[string]int64 {
		counts := map[string]int64{}
		for name, list := range map[string]func() error{
			"page": func() error {
				_, err := admin.ListAutomatedBuilds(t.Context(), autobuild.AutomatedBuildFilter{Search: "acme"})
				return err
			},
			"automated builds": func() error {
				_, err := s.BareAutomatedBuilds(t.Context(), autobuild.BareFilter{})
				return err
			},
			"webhooks": func() error { _, err := s.HooksWithoutSecrets(t.Context()); return err },
		} {
			queries.Store(0)
			must.Succeed(t, list())
			counts[name] = queries.Load()
		}
		return counts
	}
	want := map[string]int64{"page": 2, "automated builds": 1, "webhooks": 1}
	total := 0
	for _, rows := range []int{1, 60} {
		for ; total < rows; total++ {
			addUnreadable(t, s, total)
		}
		for name, got := range counts() {
			if got != want[name] {
				t.Errorf("queries of the list %q with %d rows: got %d, want %d", name, rows, got, want[name])
			}
		}
	}
}

// addUnreadable adds an automated build with a build and a webhook, whose secrets cannot be decrypted.
func addUnreadable(t *testing.T, s *Store, n int) {
	t.Helper()
	r := autobuild.Repository{ProviderID: "cloud", ID: fmt.Sprint(n), FullName: fmt.Sprintf("acme/app-%d", n)}
	a, err := s.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		Repository: r, Image: "registry.example.com/app", Rules: []autobuild.Rule{autobuild.DefaultRule("main")},
		Environment: map[string]secret.Secret{"TOKEN": secret.New("canary")},
	})
	must.Succeed(t, err)
	_, err = s.SaveHook(t.Context(), autobuild.Hook{Repository: r, Secret: secret.New("canary")})
	must.Succeed(t, err)
	_, _, err = s.CreateBuild(t.Context(), autobuild.Build{
		AutomatedBuildID: a.ID,
		RuleID:           a.Rules[0].ID,
		Repository:       r,
		Ref:              autobuild.Ref{Kind: autobuild.Branch, Name: "main"},
		Cause:            autobuild.CauseManual,
	})
	must.Succeed(t, err)
	must.Succeed(t, s.tx(t.Context(), "damage", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE hooks SET secret = $1`, []byte("damaged"))
		if err == nil {
			_, err = tx.ExecContext(t.Context(), `UPDATE environment SET value = $1`, []byte("damaged"))
		}
		return err
	}))
}
