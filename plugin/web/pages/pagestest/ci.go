package pagestest

import (
	"context"
	"strings"
	"sync"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/web/pages"
)

// CIServer is the origin of the sample's Drone.
const CIServer = "https://drone.example.com"

// CI is a fake of the engine on the sample's Drone.
type CI struct {
	mark    string // the end of every text
	mu      sync.Mutex
	limits  []time.Duration // time limit of each inspection
	address string
	err     error
	fixes   int
	fixErr  error
}

// FailFix sets the error of further calls of Fix.
func (c *CI) FailFix(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fixErr = err
}

// Fixes returns the number of calls of Fix.
func (c *CI) Fixes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fixes
}

// Fix counts its calls.
func (c *CI) Fix(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fixes++
	return c.fixErr
}

// SetPipelineURL sets the result of further calls of PipelineURL.
func (c *CI) SetPipelineURL(address string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address, c.err = address, err
}

// InspectionLimits returns the time limit of each inspection; zero means no limit.
func (c *CI) InspectionLimits() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}

// Inspect returns one good, two bad and one unknown finding. Fix changes one of them.
func (c *CI) Inspect(ctx context.Context) []pipeline.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left time.Duration
	if end, bounded := ctx.Deadline(); bounded {
		left = time.Until(end)
	}
	c.limits = append(c.limits, left)
	return []pipeline.Finding{
		{Subject: "server", Good: "Drone 2.28.1 at " + CIServer + ", its clock agrees" + c.mark},
		{Subject: "secret extension", Unknown: true, Good: "was not asked since the gateway started"},
		{Subject: "timeout", Problem: "acme/builder has a timeout of 60 minutes", Fixable: true},
		{
			Subject: "config extension",
			Problem: "the last request, 3s ago, was refused: <b>signed</b> with another secret" + c.mark,
		},
	}
}

// Environments returns variables with a secret.
func (c *CI) Environments(gateway string) []pipeline.Environment {
	return []pipeline.Environment{{Of: "the Drone server", Settings: []pipeline.Setting{
		{Name: "DRONE_YAML_ENDPOINT", Value: gateway + "/extensions/drone/config", Why: "asks the gateway"},
		{Name: "DRONE_YAML_SECRET", Secret: secret.New(ExtensionSecret), Why: "signs"},
	}}}
}

// PipelineURL returns a URL with the pipeline's name, as Drone does.
func (c *CI) PipelineURL(_ context.Context, a autobuild.Attempt) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.address != "" || c.err != nil {
		return c.address, c.err
	}
	return CIServer + "/" + strings.ReplaceAll(a.EngineRef, "#", "/"), nil
}

// Embedded returns the embedded engine.
func Embedded() pages.Engine {
	return pages.Engine{Name: "embedded", Prefix: "SLIPWAY_", Configured: true, Limit: 2}
}

// Drone returns an engine on a CI server, with a builder repository.
func Drone(ci pages.CI) pages.Engine {
	return pages.Engine{
		Name: "drone", Prefix: "SLIPWAY_DRONE_", Configured: true, CI: ci, Server: CIServer, Repository: "acme/builder",
		Image: "registry.example.com/slipway", Runners: "docker, linux/amd64",
	}
}

// Absent returns an engine that is not configured.
func Absent(name string) pages.Engine {
	return pages.Engine{Name: name, Prefix: "SLIPWAY_" + strings.ToUpper(name) + "_"}
}
