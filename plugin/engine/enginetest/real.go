package enginetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"slipway/plugin/demo/localenv"
)

// Binaries returns the paths of a real server and its agent. variable names the environment
// variable with the server's path; the agent is in the same directory. Binaries skips the test if
// it is not set.
func Binaries(t testing.TB, variable, agent string) (serverPath, agentPath string) {
	t.Helper()
	serverPath = os.Getenv(variable)
	if serverPath == "" {
		t.Skipf("SKIPPED: set %s to the program of a real server, with %s beside it", variable, agent)
	}
	agentPath = filepath.Join(filepath.Dir(serverPath), agent)
	for _, path := range []string{serverPath, agentPath} {
		if _, err := os.Stat(path); err != nil { //nolint:gosec // the path comes from the user of the test
			t.Fatalf("%s=%s: %v", variable, serverPath, err)
		}
	}
	return serverPath, agentPath
}

// A Process is a program of a real CI.
type Process struct {
	cmd *exec.Cmd
	log *os.File
}

// StartProcess starts a program that ends with the environment. Its environment is environ, PATH and
// HOME. Its output goes to name.log in the environment's directory.
func StartProcess(w *localenv.Env, name, path string, args, environ []string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(w.Dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	home := filepath.Join(w.Dir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	p := &Process{log: log, cmd: exec.Command(path, args...)} //nolint:noctx // the environment ends it
	p.cmd.Dir = home
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}, environ...)
	if err := p.start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	w.OnClose(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // Hold may have stopped it
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = log.Close()
	})
	return p, nil
}

func (p *Process) start() error {
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	return p.cmd.Start()
}

// Restart sends SIGTERM, waits for the end of the process, and starts it again. It kills a process that
// does not end before ctx does.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait() // a signal is its end
	kill()
	again := exec.Command(p.cmd.Path, p.cmd.Args[1:]...) //nolint:noctx // the environment ends it
	again.Dir, again.Env = p.cmd.Dir, p.cmd.Env
	p.cmd = again
	return p.start()
}

// Hold suspends the process until Release.
func (p *Process) Hold() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// Release ends Hold.
func (p *Process) Release() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// WaitResponse waits until a request to url gets a status below 300.
func WaitResponse(ctx context.Context, url string) error {
	err := localenv.Wait(ctx, func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // it is not up yet
		}
		return resp.StatusCode < http.StatusMultipleChoices, resp.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("%s does not respond: %w", url, err)
	}
	return nil
}
