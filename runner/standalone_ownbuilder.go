package runner

import (
	"strings"

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
