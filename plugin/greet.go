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

// firstTokenLife is how long the first administrator's token may be used; a restart makes
// a new one.
const firstTokenLife = 24 * time.Hour

// greetFirstAdministrator logs a one-time token while there is no administrator who can sign in;
// of several gateways the one does that leads. It is the only secret that is ever logged:
// whoever reads this log may as well read the data.
func (g *Gateway) greetFirstAdministrator(ctx context.Context) error {
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
		Warn("no administrator who can sign in yet: sign in with this one-time token")
	return nil
}

// FirstToken makes the one-time token of the first administrator, replacing an earlier one.
// autobuild.ErrConflict = there is an administrator already.
func (g *Gateway) FirstToken(ctx context.Context) (string, error) {
	token := rand.Text()
	if err := g.store.CreateFirstToken(
		ctx,
		autobuild.TokenHash(secret.New(token)),
		g.store.Now().Add(firstTokenLife),
	); err != nil {
		return "", fmt.Errorf("make the first administrator's token: %w", err)
	}
	return token, nil
}
