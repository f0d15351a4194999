package runner

import (
	"context"
	"fmt"
	"strings"

	"slipway/runner/sandbox"
	"slipway/runner/settings"
)

// ownBuilderEnviron is how the builder that a step starts is told of its mirrors and name
// servers: by the variables of `slipway builder`.
func ownBuilderEnviron(own settings.OwnBuilder) (lines []string) {
	for _, row := range []struct {
		name   string
		values []string
	}{
		{"SLIPWAY_BUILDER_MIRRORS", own.Mirrors},
		{"SLIPWAY_BUILDER_DNS", own.DNS},
		{"SLIPWAY_BUILDER_DNS_SEARCH", own.DNSSearch},
	} {
		if len(row.values) > 0 {
			lines = append(lines, row.name+"="+strings.Join(row.values, ","))
		}
	}
	return lines
}

func (r *standalone) ownBuilder() sandbox.LocalBuilder {
	origin := r.s.Origins["PLUGIN_STATE"]
	return sandbox.LocalBuilder{
		Registries: r.s.Registries(),
		Cache:      sandbox.LocalCache{Off: r.s.State.Off, Dir: r.s.State.Dir, Origin: origin},
		Environ:    r.o.Environ,
		Output:     r.log,
		Program:    r.o.BuilderProgram,
		Context:    r.request.Context,
	}
}

// builderPlan says where the step would build, as far as it shows without starting a builder.
func (r *standalone) builderPlan(ctx context.Context) string {
	if r.s.Builder != "" {
		return fmt.Sprintf("ask the builder at %s (%s)", r.s.Builder, r.s.Origins["PLUGIN_BUILDER"])
	}
	how, err := sandbox.PlanLocal(ctx, r.o.Environ)
	if err != nil {
		return "fail: " + err.Error()
	}
	return "start a builder here, " + how
}
