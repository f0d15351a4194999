package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"slipway/config/process"
)

// startTimeout bounds the start of a PostgreSQL server.
const startTimeout = 30 * time.Second

// errNoPostgres names the package to install.
var errNoPostgres = errors.New("PostgreSQL's initdb was not found: install the package postgresql")

// A Server is a PostgreSQL server for tests. It is reachable only by a socket in its directory.
// It ends with the process that started it.
type Server struct {
	bin, dir string
	user     *syscall.Credential // nil = the current user
	process  *process.Process    // nil = not started
}

// NewServer creates the files of a server in a new directory; Start starts the process. The
// server does not sync to disk, because tests do not survive a crash of the machine either.
func NewServer() (s *Server, err error) {
	s = &Server{}
	if s.bin, err = postgresPrograms(); err != nil {
		return nil, err
	}
	if s.user, err = postgresUser(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "slipway-postgres-"); err != nil {
		return nil, err
	}
	if s.user != nil {
		err = os.Chown(s.dir, int(s.user.Uid), int(s.user.Gid))
	}
	if err == nil {
		err = s.initialize()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

func (s *Server) initialize() error {
	program := filepath.Join(s.bin, "initdb")
	//nolint:noctx // Debian's program on our directory
	c := exec.Command(program, "-D", s.data(), "-U", "slipway", "-A", "trust", "-E", "UTF8",
		"--locale", "C.UTF-8", "--no-sync")
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.user}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Start starts the server and returns when it accepts connections.
func (s *Server) Start() error {
	program := filepath.Join(s.bin, "postgres")
	//nolint:noctx // Debian's program on our directory
	c := exec.Command(program, "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "max_connections=300")
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.user}
	var err error
	if s.process, err = process.Start(c, process.Options{Death: syscall.SIGQUIT}); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	return s.await()
}

// await returns when the server accepts connections.
func (s *Server) await() error {
	db, err := sql.Open("pgx", s.Address(""))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-look.C:
		case <-s.process.Ended():
			return fmt.Errorf("postgres ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("postgres is not ready: %w", err)
		}
	}
}

// Address returns the address of the server, with a schema; empty = the default schema.
func (s *Server) Address(schema string) string {
	q := url.Values{"host": {s.dir}}
	if schema != "" {
		q.Set("search_path", schema)
	}
	return "postgres://slipway@/postgres?" + q.Encode()
}

// Stop ends the server as a restart of its service does: it rolls transactions back, closes all connections and
// writes a checkpoint ("fast shutdown").
func (s *Server) Stop() { s.process.End(syscall.SIGINT) }

// Kill ends the server at once, like a crash: active queries are lost.
func (s *Server) Kill() {
	s.process.End(syscall.SIGQUIT) // "immediate shutdown": no checkpoint, recovery at the next start
}

// Close kills the server and removes its files.
func (s *Server) Close() error {
	if s.process != nil {
		s.Kill()
	}
	return os.RemoveAll(s.dir)
}

// postgresPrograms returns the directory of the newest installed PostgreSQL.
func postgresPrograms() (string, error) {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(all) > 0 {
		slices.Sort(all)
		return filepath.Dir(all[len(all)-1]), nil
	}
	found, err := exec.LookPath("initdb")
	if err != nil {
		return "", errNoPostgres
	}
	return filepath.Dir(found), nil
}

// postgresUser returns the user to run PostgreSQL as if the test runs as root, because PostgreSQL
// does not run as root.
func postgresUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil = the current user
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPostgres, err)
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errU, errG)
}
