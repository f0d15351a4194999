package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"slipway/config"
	"slipway/config/identity"
	"slipway/plugin/assembly"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/store"
)

// checkGateway returns the errors that would prevent a start of the gateway with the settings of the
// environment. It changes nothing, so it can run beside the gateway.
func checkGateway(ctx context.Context) error {
	c, err := config.LoadGateway(os.Environ())
	if err != nil {
		return err
	}
	_, err = newLogger(io.Discard, c.LogLevel)
	return errors.Join(err, checkProxies(c), checkEngines(c), checkDatabase(ctx, c))
}

func checkProxies(c config.Gateway) error {
	for _, p := range c.TrustedProxies {
		_, notNetwork := netip.ParsePrefix(p)
		_, notAddress := netip.ParseAddr(p)
		if notNetwork != nil && notAddress != nil {
			return fmt.Errorf("SLIPWAY_TRUSTED_PROXIES: %q is not an address or a network", p)
		}
	}
	return nil
}

func checkEngines(c config.Gateway) error {
	if _, err := assembly.DataReserve(c); err != nil {
		return err
	}
	if _, err := identity.Read(c.BuilderTLS); err != nil {
		return fmt.Errorf("SLIPWAY_BUILDER_TLS: %w", err)
	}
	if !slices.Contains(c.Engines(), embedded.Name) {
		return nil
	}
	if c.BuilderService != "" {
		return checkServiceBuilder(c)
	}
	_, err := serviceArgs(c)
	return err
}

// checkDatabase reads the database with its key. It is no error if the database does not exist yet, or has the schema
// of an earlier version: the start creates or migrates it.
func checkDatabase(ctx context.Context, c config.Gateway) error {
	if c.Database.IsZero() {
		if _, err := os.Stat(assembly.Database(c).Path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	s, err := assembly.OpenReadOnly(ctx, c)
	if errors.Is(err, store.ErrOldSchema) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Close()
}
