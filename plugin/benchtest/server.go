package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"slipway/config/loopback"
	"slipway/config/process"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
	startPoll    = 20 * time.Millisecond
	clockTicks   = 100 // of a second, in /proc: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
)

// A server is a process that acknowledges deliveries.
type server struct {
	name    string
	urls    []string // of its webhooks
	process *process.Process
}

// startFloor starts the floor in a directory.
func startFloor(ctx context.Context, dir, postgres string, key secret.Secret, hooks int) (*server, error) {
	address, err := loopback.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{name: "floor"}
	for i := range hooks {
		s.urls = append(s.urls, fmt.Sprintf("http://%s/hooks/bitbucket/%d", address, i))
	}
	cmd := exec.Command("/proc/self/exe", floorCommand, address, dir) //nolint:noctx // stop ends it
	cmd.Env = []string{floorKey + "=" + key.Reveal(), floorDatabase + "=" + postgres}
	return s, s.start(ctx, cmd, filepath.Join(dir, "floor.log"), s.urls[0])
}

// startGateway starts a gateway in a directory, and gives it webhooks of repositories without automated
// builds. Its Bitbucket is an address at which nothing answers, so it makes no requests that matter.
func startGateway(ctx context.Context, program, dir, postgres string, key secret.Secret, hooks int) (*server, error) {
	address, err := loopback.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	url := "http://" + address
	cmd := exec.Command(program, "gateway") //nolint:noctx // stop ends it
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "SLIPWAY_DATA=" + dir, "SLIPWAY_LISTEN=" + address, "SLIPWAY_URL=" + url,
		"SLIPWAY_BITBUCKET_API_URL=http://127.0.0.1:9", "SLIPWAY_DATABASE=" + postgres,
	}
	s := &server{name: program}
	if err := s.start(ctx, cmd, filepath.Join(dir, "gateway.log"), url+"/readyz"); err != nil {
		return s, err
	}
	ids, err := seed(ctx, dir, postgres, key, hooks)
	for _, id := range ids {
		s.urls = append(s.urls, url+"/hooks/bitbucket/"+id)
	}
	return s, err
}

// seed stores webhooks in the database of a running gateway, and returns their ids.
func seed(ctx context.Context, dir, postgres string, key secret.Secret, hooks int) (ids []string, err error) {
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), false)
	if err != nil {
		return nil, err
	}
	o := store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer}
	if postgres != "" {
		o.Postgres = secret.New(postgres)
	}
	db, err := store.OpenBeside(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	providers, err := db.Providers(ctx)
	if err != nil {
		return nil, err
	}
	if len(providers) == 0 {
		return nil, errors.New("the gateway has no source provider")
	}
	for i := range hooks {
		h, err := db.SaveHook(ctx, autobuild.Hook{
			Repository: autobuild.Repository{
				ProviderID: providers[0].ID, ID: fmt.Sprintf("{bench-%d}", i), WorkspaceID: "{bench}",
				FullName: fmt.Sprintf("bench/app-%d", i), DefaultBranch: "main",
			},
			Secret: key, State: autobuild.HookActive,
		})
		if err != nil {
			return nil, err
		}
		ids = append(ids, h.ID)
	}
	return ids, nil
}

// start starts the process and waits until it answers at a URL.
func (s *server) start(ctx context.Context, cmd *exec.Cmd, logFile, url string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close() // the process has it
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = process.Start(cmd, process.Options{}); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if answers(ctx, url) {
			return nil
		}
		select {
		case <-time.After(startPoll):
		case <-s.process.Ended():
			text, _ := os.ReadFile(logFile)
			return fmt.Errorf("%s ended: %s", s.name, text)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.name, context.Cause(ctx))
		}
	}
}

func answers(ctx context.Context, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode != http.StatusServiceUnavailable
}

func (s *server) stop() {
	if s.process != nil {
		s.process.Stop(stopTimeout)
	}
}

// cpu returns the processor time that the process has used, without its children.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.PID())) //nolint:gosec // a number
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name may contain spaces
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("the times of process %d are missing", s.process.PID())
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}
