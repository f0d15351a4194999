package buildkit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipway/config/identity"
)

// Describe returns one line about a builder: its address, its platforms, and the expiry of the client
// certificate.
func Describe(ctx context.Context, address string, id identity.Identity) (string, error) {
	c, err := Dial(ctx, address, id)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	workers, err := c.bk.ListWorkers(ctx)
	if err != nil {
		return "", fmt.Errorf("builder at %s: %w", address, err)
	}
	var platforms []string
	for _, w := range workers {
		for _, p := range w.Platforms {
			platforms = append(platforms, p.OS+"/"+p.Architecture)
		}
	}
	slices.Sort(platforms) // the same platform occurs once for each variant of a processor
	line := fmt.Sprintf("%s is ready and builds for %s", address, strings.Join(slices.Compact(platforms), ", "))
	if identity.Encrypts(address, id) {
		line += "; the client certificate is valid until " + id.Expires().Format(time.DateOnly)
	}
	return line, nil
}
