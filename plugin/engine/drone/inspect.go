package drone

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/config/secret"
	"slipway/plugin/engine/pipeline"
)

// maxSkew is how far the two clocks may be apart before it is worth a word.
const maxSkew = 30 * time.Second

// Inspect looks at the server as the engine uses it, without changing anything there.
func (e *Engine) Inspect(ctx context.Context) []pipeline.Finding {
	all := []pipeline.Finding{e.inspectVersion(ctx), e.inspectToken(ctx)}
	if e.o.Repository != "" {
		all = append(all, e.inspectRepository(ctx))
	}
	return append(all,
		e.seen.Finding("config", "is DRONE_YAML_ENDPOINT set on the server?"),
		e.seen.Finding("secret", "is DRONE_SECRET_PLUGIN_ENDPOINT set on the runners?"),
		e.seen.Finding("webhook", "without DRONE_WEBHOOK_ENDPOINT the gateway polls, which is well too"))
}

// inspectVersion also compares the clocks: signatures count for minutes only.
func (e *Engine) inspectVersion(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "server"}
	version, date, err := e.version(ctx)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	skew := e.o.Now().Sub(date).Abs()
	switch {
	case tooOld(version):
		f.Problem = fmt.Sprintf("it is version %s, and 2.28 is needed: upgrade it", version)
	case !date.IsZero() && skew > maxSkew:
		f.Problem = fmt.Sprintf("its clock is %s off ours: its requests will be refused; start a time service on both", skew.Round(time.Second))
	default:
		f.Good = fmt.Sprintf("Drone %s at %s, its clock agrees; its build must not be the open-source one, which has no extensions and no runners", version, e.o.Server)
	}
	return f
}

// version asks what drone-go has no call for. https://docs.drone.io/api/overview/
func (e *Engine) version(ctx context.Context) (version string, date time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.o.Server+"/version", nil)
	if err != nil {
		return "", time.Time{}, err
	}
	c := &carrier{client: e.client, ctx: ctx}
	resp, err := c.RoundTrip(req)
	if err != nil {
		return "", time.Time{}, e.client.kind(0, err)
	}
	defer resp.Body.Close()
	var told struct {
		Version string `json:"version"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil || told.Version == "" {
		return "", time.Time{}, fmt.Errorf("%s does not answer as Drone: check SLIPWAY_DRONE_SERVER", e.o.Server)
	}
	date, _ = http.ParseTime(c.date) // one that tells no time is not compared
	return told.Version, date, nil
}

// tooOld reports versions below 2.28; what is no version is taken to be new.
func tooOld(version string) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, minorErr := strconv.Atoi(parts[1])
	return err == nil && minorErr == nil && (major < 2 || (major == 2 && minor < 28))
}

func (e *Engine) inspectToken(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "token"}
	var user *drone.User
	err := e.client.call(ctx, answerTime, func(d drone.Client) (err error) {
		user, err = d.Self()
		return err
	})
	switch {
	case err != nil:
		f.Problem = err.Error()
	case user.Admin:
		f.Good = "is " + user.Login + "'s, an administrator of Drone"
	default:
		f.Good = "is " + user.Login + "'s, who needs write access at Bitbucket to each repository that runs pipelines"
	}
	return f
}

func (e *Engine) inspectRepository(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "builder repository"}
	r, err := e.client.repo(ctx, e.o.Repository)
	switch {
	case err != nil:
		f.Problem = err.Error()
	case !r.Active:
		f.Good = r.Slug + " is not active, and will be with the first build"
	case r.Branch == "":
		f.Problem = r.Slug + " has no default branch: give it one commit at Bitbucket, and press Sync on Drone"
	default:
		f.Good = fmt.Sprintf("%s is active, builds run on %s", r.Slug, r.Branch)
	}
	return f
}

// A Setting is a line of the environment of Drone's server or runners.
type Setting struct {
	Name   string
	Value  string
	Secret secret.Secret // in place of Value
	Why    string
}

// ServerSettings are for the environment of the Drone server.
func (e *Engine) ServerSettings(gateway string) []Setting {
	return []Setting{
		{Name: "DRONE_YAML_ENDPOINT", Value: gateway + "/extensions/drone/config", Why: "asks the gateway for the pipelines of its builds; other builds go on as before"},
		{Name: "DRONE_YAML_SECRET", Secret: e.o.Secrets.Config},
		{Name: "DRONE_WEBHOOK_ENDPOINT", Value: gateway + "/extensions/drone/webhook", Why: "tells the gateway at once what it would see within 15 s"},
		{Name: "DRONE_WEBHOOK_SECRET", Secret: e.o.Secrets.Webhook},
		{Name: "DRONE_WEBHOOK_EVENTS", Value: "build:*"},
	}
}

// RunnerSettings are for the environment of each of its runners.
func (e *Engine) RunnerSettings(gateway string) []Setting {
	return []Setting{
		{Name: "DRONE_SECRET_PLUGIN_ENDPOINT", Value: gateway + "/extensions/drone/secret", Why: "asks the gateway for the token of a build's runner"},
		{Name: "DRONE_SECRET_PLUGIN_TOKEN", Secret: e.o.Secrets.Secret},
	}
}
