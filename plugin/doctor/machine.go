package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"slipway/config"
	"slipway/config/identity"
	"slipway/plugin/assembly"
)

const (
	minFreeDisk     = 2 << 30 // bytes; builds fail soon with less
	maxClockSkew    = 30 * time.Second
	requestTimeout  = 10 * time.Second
	builderTimeout  = 20 * time.Second // `slipway builder` has a shorter one of its own
	maxResponseBody = 64 << 10         // bytes that are read of a response
)

// diskSpace checks the data directory and its file system.
func diskSpace(data string) Finding {
	f := Finding{Check: checkDisk}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(data, &stat); err != nil {
		f.Err = fmt.Errorf("SLIPWAY_DATA=%s: %w", data, err)
		f.Fix = "the gateway creates it at its first start"
		return f
	}
	free := stat.Bavail * uint64(stat.Bsize) //nolint:gosec // a block size is positive
	f.Note = fmt.Sprintf("%.1f GB free in %s", float64(free)/1e9, data)
	if free < minFreeDisk {
		f.Err = errors.New(f.Note)
		f.Fix = "free some space or set a smaller SLIPWAY_BUILDER_CACHE"
	}
	return f
}

// publicURL checks that the gateway responds at its public URL.
func publicURL(ctx context.Context, c config.Gateway) Finding {
	f := Finding{Check: checkURL, Note: c.URL + " answers"}
	response, err := get(ctx, c.URL+"/healthz")
	if err == nil && (response.status != http.StatusOK || response.body != "ok\n") {
		err = errors.New("another server answers there")
	}
	if err != nil {
		f.Err = fmt.Errorf("SLIPWAY_URL=%s: %w", c.URL, err)
		f.Fix = "start the gateway, or correct the address or the proxy in front of it"
		return f
	}
	if host := hostOf(c.URL); isPrivate(host) {
		f.Note += "; Bitbucket Cloud cannot reach " + host + ", so repositories are polled every " + c.PollInterval.String()
	}
	return f
}

// clock compares this machine's clock with that of the Bitbucket API.
func clock(ctx context.Context, apiURL string) Finding {
	f := Finding{Check: checkClock, Note: "matches Bitbucket's clock"}
	response, err := get(ctx, apiURL+"/2.0/user")
	if err != nil && response.header == nil {
		f.Err = fmt.Errorf("SLIPWAY_BITBUCKET_API_URL=%s: %w", apiURL, err)
		f.Fix = "check the address and the network: builds cannot be confirmed without it"
		return f
	}
	theirs, err := http.ParseTime(response.header.Get("Date"))
	if err != nil {
		f.Skipped = true
		f.Note = "not compared: " + apiURL + " sends no time"
		return f
	}
	if skew := time.Since(theirs).Abs(); skew > maxClockSkew {
		f.Err = fmt.Errorf(
			"this machine's clock differs from Bitbucket's by %s: tokens will seem expired", skew.Round(time.Second),
		)
		f.Fix = "start a time service"
	}
	return f
}

// sharedCacheNote ends the note about a builder that the gateway does not start.
const sharedCacheNote = "; all builds share its cache, so each can read and change what the others use: " +
	"unset SLIPWAY_BUILDER for one cache per automated build"

// builder checks the builder of the embedded engine. Without an address it checks if this machine
// can run one.
func builder(ctx context.Context, c config.Gateway) Finding {
	if c.Builder == "" {
		return runBuilder(ctx, nil, "--probe")
	}
	id, err := identity.Read(c.BuilderTLS)
	if err != nil {
		return Finding{Check: checkBuilder, Err: fmt.Errorf("SLIPWAY_BUILDER_TLS: %w", err)}
	}
	f := runBuilder(ctx, []string{"SLIPWAY_BUILDER_TLS=" + id.Text().Reveal()}, "check", c.Builder)
	f.Note += sharedCacheNote
	if f.Err != nil {
		f.Err = fmt.Errorf("SLIPWAY_BUILDER: %w", f.Err)
		f.Fix = fmt.Sprintf("start `slipway builder --address %s` there", c.Builder)
	}
	return f
}

// runBuilder runs `slipway builder` as a child process. Its output is the finding.
func runBuilder(ctx context.Context, environ []string, args ...string) Finding {
	ctx, cancel := context.WithTimeout(ctx, builderTimeout)
	defer cancel()
	args = append([]string{"builder"}, args...)
	//nolint:gosec // the arguments are the administrator's settings
	cmd := exec.CommandContext(ctx, assembly.Executable, args...)
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	f := Finding{Check: checkBuilder, Note: strings.TrimSpace(string(out))}
	if err != nil {
		f.Err = errors.New(strings.TrimPrefix(f.Note, "slipway: "))
	}
	return f
}

// A response is the start of an HTTP response.
type response struct {
	status int
	header http.Header
	body   string // at most maxResponseBody
}

// get requests an address. It also returns the response with an error for a status of 500 or more.
func get(ctx context.Context, address string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return response{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
	if err != nil {
		return response{}, err
	}
	r := response{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.StatusCode >= http.StatusInternalServerError {
		return r, fmt.Errorf("got status %s", resp.Status)
	}
	return r, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// isPrivate reports whether a host is a name or address that the internet cannot reach.
func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()))
}
