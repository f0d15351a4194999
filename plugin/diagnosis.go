package plugin

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

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/config/identity"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/credentials"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

const (
	minFreeDisk   = 2 << 30 // bytes; below it builds begin to fail
	maxClockSkew  = 30 * time.Second
	doctorTimeout = 10 * time.Second // of one network look
	maxAnswer     = 64 << 10         // bytes read of an answer
)

// A diagnosis looks at one installation. Its checks need no running gateway; where one
// runs, the database is read beside it.
type diagnosis struct {
	config config.Gateway
	store  *store.Store // nil when it could not be opened
	probe  bool         // CIs may be tried by pipelines
	up     bool         // the gateway answers, as publicURL found
}

func (d *diagnosis) close() {
	if d.store != nil {
		_ = d.store.Close() // it was only read
	}
}

func (d *diagnosis) dataDirectory(context.Context) []finding {
	f := finding{what: "disk"}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.config.Data, &stat); err != nil {
		f.err = fmt.Errorf("SLIPWAY_DATA=%s: %w: the gateway makes it at its first start", d.config.Data, err)
		return []finding{f}
	}
	free := stat.Bavail * uint64(stat.Bsize) //nolint:gosec // a block size is positive
	f.note = fmt.Sprintf("%.1f GB free in %s", float64(free)/1e9, d.config.Data)
	if free < minFreeDisk {
		f.err = fmt.Errorf("%s: free some space or set SLIPWAY_BUILDER_CACHE lower", f.note)
	}
	return []finding{f}
}

func (d *diagnosis) database(ctx context.Context) []finding {
	f := finding{what: "database", note: "opens, its key fits"}
	sealer, err := seal.LoadOrCreate(d.config.Key, false)
	if err != nil {
		f.err = err
		return []finding{f}
	}
	o := databaseOf(d.config)
	o.Sealer = sealer
	d.store, f.err = store.OpenReadOnly(ctx, o)
	return []finding{f}
}

func (d *diagnosis) publicURL(ctx context.Context) []finding {
	f := finding{what: "public URL", note: d.config.URL + " answers"}
	if _, err := get(ctx, d.config.URL+"/healthz"); err != nil {
		f.err = fmt.Errorf(
			"SLIPWAY_URL=%s: %w: start the gateway, or mend the address or the proxy before it",
			d.config.URL,
			err,
		)
		return []finding{f}
	}
	d.up = true
	if host := hostOf(d.config.URL); isPrivate(host) {
		f.note += "; Bitbucket Cloud cannot reach " + host + ", so repositories are polled every " + d.config.PollInterval.String()
	}
	return []finding{f}
}

func (d *diagnosis) clock(ctx context.Context) []finding {
	f := finding{what: "clock", note: "agrees with Bitbucket's"}
	header, err := get(ctx, d.config.APIURL+"/2.0/user")
	if err != nil && header == nil {
		f.err = fmt.Errorf(
			"SLIPWAY_BITBUCKET_API_URL=%s: %w: builds cannot be confirmed without it",
			d.config.APIURL,
			err,
		)
		return []finding{f}
	}
	theirs, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		f.note = "not compared: " + d.config.APIURL + " tells no time"
		return []finding{f}
	}
	if skew := time.Since(theirs).Abs(); skew > maxClockSkew {
		f.err = fmt.Errorf(
			"this machine's clock is %s off Bitbucket's: tokens will seem expired; start a time service",
			skew.Round(time.Second),
		)
	}
	return []finding{f}
}

func (d *diagnosis) oauthClients(ctx context.Context) []finding {
	if d.store == nil {
		return nil
	}
	providers, err := d.store.Providers(ctx)
	if err != nil {
		return []finding{{what: "OAuth client", err: err}}
	}
	checker := accounts.New(accounts.Options{Store: d.store, URL: d.config.URL, Log: silent()})
	var all []finding
	for _, p := range providers {
		f := finding{
			what: "OAuth client",
			note: p.Name + " knows it; its callback URL must be " + checker.CallbackURL(),
		}
		if err := checker.ProviderReady(ctx, p); err != nil {
			f.err = fmt.Errorf("%s: %w", p.Name, err)
		}
		all = append(all, f)
	}
	return all
}

func (d *diagnosis) linkedAccounts(ctx context.Context) []finding {
	if d.store == nil {
		return nil
	}
	linked, err := d.store.Accounts(ctx)
	if err != nil {
		return []finding{{what: "account", err: err}}
	}
	checker := accounts.New(accounts.Options{Store: d.store, URL: d.config.URL, Log: silent()})
	var all []finding
	for _, a := range linked {
		f := finding{what: "account", note: a.Name + " is linked"}
		if a.State == autobuild.AccountBroken {
			f.err = fmt.Errorf("%s: %s: link it again under Settings → Source providers", a.Name, a.Problem)
		} else if missing := checker.MissingScopes(a); len(missing) > 0 {
			f.err = fmt.Errorf(
				"%s: its grant lacks %s: tick them on the OAuth consumer and link again",
				a.Name,
				strings.Join(missing, ", "),
			)
		}
		all = append(all, f)
	}
	return all
}

func (d *diagnosis) registries(ctx context.Context) []finding {
	if d.store == nil {
		return nil
	}
	builds, err := d.store.AutomatedBuilds(ctx)
	if err != nil {
		return []finding{{what: "registry", err: err}}
	}
	stored, err := d.store.Registries(ctx)
	if err != nil {
		return []finding{{what: "registry", err: err}}
	}
	checker := catalog.RemoteRegistry{}
	seen := map[string]bool{}
	var all []finding
	for _, ab := range builds {
		r := credentials.Choose(stored, credentials.Use{
			AutomatedBuildID: ab.ID, Image: ab.Image, BoundOnly: ab.Engine == inrepo.Name,
		}).Push
		if r.ID == "" || seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		f := finding{what: "registry", note: r.Host + " takes the credential"}
		if warning := credentials.Warning(r); warning != "" {
			f.note += "; " + warning
		}
		if err := checker.Check(ctx, ab.Image, r); err != nil {
			f.err = fmt.Errorf("%s: %w: enter it again under Settings → Registries", r.Host, err)
		}
		all = append(all, f)
	}
	return all
}

func (d *diagnosis) webhooks(ctx context.Context) []finding {
	if d.store == nil {
		return nil
	}
	hooks, err := d.store.Hooks(ctx)
	if err != nil {
		return []finding{{what: "webhook", err: err}}
	}
	var all []finding
	for _, h := range hooks {
		f := finding{what: "webhook", note: h.Repository.FullName + " delivers"}
		if h.State == autobuild.HookPolled {
			f.note = fmt.Sprintf("%s is polled every %s: %s", h.Repository.FullName, d.config.PollInterval, h.Problem)
		}
		if h.SecretPending() {
			f.err = fmt.Errorf(
				"%s: Bitbucket does not have the new secret yet: run `slipway webhooks rotate %s`",
				h.Repository.FullName,
				h.Repository.FullName,
			)
		}
		all = append(all, f)
	}
	return all
}

// builder asks the other half of this program, as a child, what it could do here.
func (d *diagnosis) builder(ctx context.Context) []finding {
	if d.config.Builder == "" {
		return []finding{d.askBuilder(ctx, nil, "--probe")}
	}
	who, err := identity.Read(d.config.BuilderTLS)
	if err != nil {
		return []finding{{what: "builder", err: fmt.Errorf("SLIPWAY_BUILDER_TLS: %w", err)}}
	}
	f := d.askBuilder(ctx, []string{"SLIPWAY_BUILDER_TLS=" + who.Text().Reveal()}, "check", d.config.Builder)
	if f.err != nil {
		f.err = fmt.Errorf("SLIPWAY_BUILDER: %w: start `slipway builder --address %s` there", f.err, d.config.Builder)
	}
	return []finding{f}
}

// askBuilder runs `slipway builder` with these arguments. What it prints is the finding.
func (d *diagnosis) askBuilder(ctx context.Context, environ []string, args ...string) finding {
	ctx, cancel := context.WithTimeout(ctx, 2*doctorTimeout) // it has one of its own
	defer cancel()
	cmd := exec.CommandContext(
		ctx,
		self,
		append([]string{"builder"}, args...)...) //nolint:gosec // this very program and settings of its administrator
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	f := finding{what: "builder", note: strings.TrimSpace(string(out))}
	if err != nil {
		f.err = errors.New(strings.TrimPrefix(f.note, "slipway: "))
	}
	return f
}

// get returns the header of the answer, its body read away; err also tells an answer of 5xx.
func get(ctx context.Context, address string) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, maxAnswer); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return resp.Header, fmt.Errorf("it answers %s", resp.Status)
	}
	return resp.Header, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()))
}

func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}
