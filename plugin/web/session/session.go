// Package session finds the user of a request. Sessions are rows in the store, so that an
// administrator can end them. The key is the hash of 32 random bytes in a cookie, so that a stolen
// database contains no usable session. Package pages checks permissions.
package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
)

// Lifetime is the lifetime of a session. Requests do not extend it.
const Lifetime = 7 * 24 * time.Hour

// flowLifetime is the lifetime of the cookie that binds an OAuth flow to its browser.
const flowLifetime = 10 * time.Minute

// Keys of a request's context.
const (
	userKey = "slipway.user"
	idKey   = "slipway.session"
)

// Store keeps sessions by the hash of their id. SessionUser returns ErrNotFound if the session has
// ended. *store.Store implements it.
type Store interface {
	CreateSession(ctx context.Context, s autobuild.Session) error
	SessionUser(ctx context.Context, sessionID string) (autobuild.User, error)
	DeleteSession(ctx context.Context, sessionID string) error
}

// Options configure a Manager.
type Options struct {
	Store Store
	URL   string           // public base URL; https makes the cookies Secure
	Now   func() time.Time // nil means time.Now
}

// A Manager starts, finds and ends sessions. It is safe for concurrent use.
type Manager struct {
	store  Store
	secure bool
	now    func() time.Time
}

// New returns a Manager.
func New(o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Manager{store: o.Store, secure: strings.HasPrefix(o.URL, "https://"), now: o.Now}
}

// Start signs a user in with a new session, which stores the grant of the sign-in. It ends the
// browser's previous session, so that an attacker cannot set a session id before the sign-in.
func (m *Manager) Start(c *gin.Context, userID string, grant autobuild.Grant) error {
	if err := m.deleteSession(c); err != nil {
		return err
	}
	value, now := autobuild.NewToken().Reveal(), m.now()
	s := autobuild.Session{ID: hash(value), UserID: userID, CreatedAt: now, ExpiresAt: now.Add(Lifetime), Grant: grant}
	if err := m.store.CreateSession(c.Request.Context(), s); err != nil {
		return fmt.Errorf("sign in user %s: %w", userID, err)
	}
	m.setCookie(c, m.name("slipway"), value, Lifetime)
	return nil
}

// End signs the user out. It also deletes the cookie of an OAuth flow, because finishing that flow
// would sign the same user in again.
func (m *Manager) End(c *gin.Context) error {
	if err := m.deleteSession(c); err != nil {
		return err
	}
	m.setCookie(c, m.name("slipway-flow"), "", -1)
	m.setCookie(c, m.name("slipway"), "", -1)
	return nil
}

// deleteSession deletes the session of the request's cookie, if there is one.
func (m *Manager) deleteSession(c *gin.Context) error {
	value := m.cookie(c, "slipway")
	if value == "" {
		return nil
	}
	err := m.store.DeleteSession(c.Request.Context(), hash(value))
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// Load returns the middleware that finds the user of a request, if there is one.
func (m *Manager) Load() gin.HandlerFunc {
	return httpx.Handle(func(c *gin.Context) error {
		value := m.cookie(c, "slipway")
		if value == "" {
			return nil
		}
		user, err := m.store.SessionUser(c.Request.Context(), hash(value))
		if errors.Is(err, autobuild.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find the session: %w", err)
		}
		c.Set(userKey, user)
		c.Set(idKey, hash(value))
		return nil
	})
}

// Reload reads the session's user again, for long requests. It returns ErrNotFound if the session has
// ended, or if there was none.
func (m *Manager) Reload(c *gin.Context) (autobuild.User, error) {
	user, err := m.store.SessionUser(c.Request.Context(), ID(c))
	if err != nil {
		return autobuild.User{}, fmt.Errorf("find the session: %w", err)
	}
	c.Set(userKey, user)
	return user, nil
}

// ID returns the session's id in the store. It is empty if no user is signed in.
func ID(c *gin.Context) string { return c.GetString(idKey) }

// User returns the signed-in user. ok is false if no user is signed in.
func User(c *gin.Context) (user autobuild.User, ok bool) {
	value, _ := c.Get(userKey)
	user, ok = value.(autobuild.User)
	return user, ok
}

// AskToSignIn handles a request without a session. It redirects a GET to the sign-in page, which
// returns to the page afterwards. For other methods it returns a 401.
func AskToSignIn(c *gin.Context) error {
	if c.Request.Method == http.MethodGet {
		c.Redirect(http.StatusSeeOther, "/signin?return_to="+url.QueryEscape(c.Request.URL.RequestURI()))
		c.Abort()
		return nil
	}
	return &httpx.Error{
		Status:  http.StatusUnauthorized,
		Message: "Sign in first. You are not signed in, or your session has expired.",
	}
}

// Browser returns the id that binds an OAuth flow to this browser. It sets a cookie with a new id if
// there is none.
func (m *Manager) Browser(c *gin.Context) string {
	if value := m.cookie(c, "slipway-flow"); value != "" {
		return value
	}
	value := autobuild.NewToken().Reveal()
	m.setCookie(c, m.name("slipway-flow"), value, flowLifetime)
	return value
}

// TakeBrowser returns the id from Browser and deletes its cookie. The id is empty if there is none.
func (m *Manager) TakeBrowser(c *gin.Context) string {
	value := m.cookie(c, "slipway-flow")
	m.setCookie(c, m.name("slipway-flow"), "", -1)
	return value
}

// name returns a cookie's name. Over TLS it has a prefix that makes browsers send the cookie only to
// this host.
// Source: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
func (m *Manager) name(base string) string {
	if m.secure {
		return "__Host-" + base
	}
	return base
}

func (m *Manager) cookie(c *gin.Context, base string) string {
	cookie, err := c.Request.Cookie(m.name(base))
	if err != nil || len(cookie.Value) > 64 {
		return ""
	}
	return cookie.Value
}

func (m *Manager) setCookie(c *gin.Context, name, value string, life time.Duration) {
	cookie := &http.Cookie{ //nolint:gosec // secure where the public URL is
		Name:     name,
		Value:    value,
		Path:     "/",
		Secure:   m.secure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
		MaxAge:   int(life.Seconds()),
	}
	if life < 0 {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.Writer, cookie)
}

func hash(value string) string { return autobuild.TokenHash(secret.New(value)) }
