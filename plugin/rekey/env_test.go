package rekey_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway/config"
	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/leader"
	"slipway/plugin/rekey"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// canary is the beginning of each secret.
const canary = "c4nary-"

// keysInterval is the time between two looks of a gateway at its key file.
const keysInterval = 20 * time.Millisecond

// Variables that turn this test binary into one run of the command.
const (
	runIn      = "SLIPWAY_TEST_REKEY_IN"       // data directory
	runAt      = "SLIPWAY_TEST_REKEY_DATABASE" // address; empty = SQLite
	runKilled  = "SLIPWAY_TEST_REKEY_KILLED"   // the number of the step at which the process kills itself; 0 = none
	runRemoves = "SLIPWAY_TEST_REKEY_REMOVES"  // set = remove old keys
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(runIn); dir != "" {
		if err := runHere(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(storetest.RunBesidePostgres(m))
}

func runHere(dir string) error {
	killed, err := strconv.Atoi(os.Getenv(runKilled))
	if err != nil {
		return err
	}
	n := 0
	o := rekey.Options{Config: configOf(dir, secret.New(os.Getenv(runAt))), Step: func(what string, _ bool) {
		if what == "check key" {
			return
		}
		if n++; n == killed {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	if os.Getenv(runRemoves) != "" {
		return rekey.RemoveOldKeys(context.Background(), os.Stdout, o)
	}
	return rekey.Run(context.Background(), os.Stdout, o)
}

func configOf(dir string, database secret.Secret) config.Gateway {
	return config.Gateway{Data: dir, Key: filepath.Join(dir, "secret.key"), Database: database}
}

// An env is an installation with gateways and a value in each sealed column.
type env struct {
	dir      string
	database secret.Secret // address of PostgreSQL; zero = SQLite
	gateways []*store.Store
	hooks    []autobuild.Hook
}

// onBoth runs a test on SQLite with one gateway, and on PostgreSQL with two.
func onBoth(t *testing.T, test func(t *testing.T, e *env)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newEnv(t, secret.Secret{}, 1)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, newEnv(t, storetest.NewestPostgres(t), 2)) })
}

func newEnv(t *testing.T, database secret.Secret, gateways int) *env {
	t.Helper()
	e := &env{dir: t.TempDir(), database: database}
	for range gateways {
		e.gateways = append(e.gateways, e.start(t, e.dir))
	}
	e.fill(t)
	return e
}

// start starts what a gateway does with keys. dir contains its key file. Close the store to stop it.
func (e *env) start(t *testing.T, dir string) *store.Store {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	must.Succeed(t, err)
	o := store.Options{Path: filepath.Join(e.dir, "slipway.db"), Postgres: e.database, Sealer: sealer}
	s, err := store.Open(t.Context(), o)
	must.Succeed(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	t.Cleanup(func() {
		stop()
		working.Wait()
		must.Succeed(t, s.Close())
	})
	elector := leader.New(leader.Options{Leases: s, Log: discard.Logger()})
	must.Succeed(t, elector.Acquire(ctx))
	_, err = s.ReportKeys(ctx, time.Minute, true)
	must.Succeed(t, err)
	working.Go(func() { _ = elector.Run(ctx) })
	working.Go(func() {
		tick := time.NewTicker(keysInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			_, _ = s.ReportKeys(ctx, time.Minute, false) // rekey names a gateway that cannot report
		}
	})
	return s
}

// fill stores secrets in each sealed column. There are more webhooks and sessions than in one batch.
func (e *env) fill(t *testing.T) {
	t.Helper()
	s := e.gateways[0]
	ctx, later := t.Context(), time.Now().Add(time.Hour)
	_, err := s.SaveProvider(ctx, autobuild.Provider{
		ID: "cloud", Kind: autobuild.Cloud, Name: "cloud", ClientSecret: secret.New(canary + "client"),
	})
	must.Succeed(t, err)
	_, err = s.SaveAccount(ctx, autobuild.Account{
		Name: "ada", AccessToken: secret.New(canary + "access"), RefreshToken: secret.New(canary + "refresh"),
	})
	must.Succeed(t, err)
	_, err = s.SaveRegistry(ctx, autobuild.Registry{Host: "registry", Password: secret.New(canary + "registry")})
	must.Succeed(t, err)
	_, err = s.SaveAutomatedBuild(ctx, autobuild.AutomatedBuild{
		Repository: storetest.Repository(
			"app",
		),
		Environment: map[string]secret.Secret{"NAME": secret.New(canary + "env")},
	})
	must.Succeed(t, err)
	_, err = s.ExtensionSecret(ctx, "drone", "convert")
	must.Succeed(t, err)
	must.Succeed(t, s.SaveOAuthFlow(ctx,
		autobuild.OAuthFlow{State: "kept", CodeVerifier: secret.New(canary + "verifier"), ExpiresAt: later}))
	u, err := s.SaveUser(ctx, autobuild.User{Name: "ada", Role: autobuild.RoleAdmin})
	must.Succeed(t, err)
	for i := range 22 {
		se := autobuild.Session{ID: fmt.Sprint("kept", i), UserID: u.ID, ExpiresAt: later, Grant: autobuild.Grant{
			AccessToken: secret.New(canary + "grant"), RefreshToken: secret.New(canary + "again"),
		}}
		must.Succeed(t, s.CreateSession(ctx, se))
	}
	must.Succeed(t, s.SetFormResult(ctx, "kept0", "form", secret.New(canary+"form"), later))
	for i := range 25 {
		h, err := s.SaveHook(ctx, autobuild.Hook{
			Repository: storetest.Repository(fmt.Sprint("app", i)), State: autobuild.HookActive,
			Secret: secret.New(fmt.Sprint(canary, "hook", i)), PreviousSecret: secret.New(canary + "before"),
		})
		must.Succeed(t, err)
		e.hooks = append(e.hooks, h)
	}
}

// run runs the command in a process, which kills itself at a step; 0 = not. killed reports whether it did.
func (e *env) run(t *testing.T, at int, environment ...string) (printed string, killed bool, err error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), runIn+"="+e.dir, runAt+"="+e.database.Reveal(), runKilled+"="+strconv.Itoa(at))
	c.Env = append(c.Env, environment...)
	out, err := c.CombinedOutput()
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return string(out), ok && status.Signaled() && status.Signal() == syscall.SIGKILL, err
}

// check opens all values with the keys of the key file as it is now.
func (e *env) check(t *testing.T) store.SealCheck {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(e.dir, "secret.key"), false)
	must.Succeed(t, err)
	s, err := store.OpenReadOnly(t.Context(),
		store.Options{Path: filepath.Join(e.dir, "slipway.db"), Postgres: e.database, Sealer: sealer})
	must.Succeed(t, err)
	defer func() { must.Succeed(t, s.Close()) }()
	check, err := s.CheckSealed(t.Context())
	must.Succeed(t, err)
	return check
}
