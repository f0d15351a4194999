package plugin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// firstTokenLife is how long the first administrator's token is valid. Each start of the gateway
// replaces the token.
const firstTokenLife = 24 * time.Hour

// logFirstToken logs a one-time token while no administrator can sign in. Of several gateways only
// the leader does. This is the only secret in a log: a reader of this log can usually also read the
// data directory.
func (g *Gateway) logFirstToken(ctx context.Context) error {
	if !g.leader.IsLeader() {
		return nil
	}
	token, err := g.FirstToken(ctx)
	if errors.Is(err, autobuild.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	g.log.WithFields(logrus.Fields{"open": g.config.URL + "/signin", "one_time_token": token, "valid": firstTokenLife.String()}).
		Warn("no administrator can sign in yet: sign in with this one-time token")
	return nil
}

// FirstToken creates the one-time token of the first administrator and replaces an earlier one. It
// returns autobuild.ErrConflict if an administrator exists.
func (g *Gateway) FirstToken(ctx context.Context) (string, error) {
	token := rand.Text()
	hash, expiry := autobuild.TokenHash(secret.New(token)), g.store.Now().Add(firstTokenLife)
	if err := g.store.CreateFirstToken(ctx, hash, expiry); err != nil {
		return "", fmt.Errorf("create the first administrator's token: %w", err)
	}
	return token, nil
}
