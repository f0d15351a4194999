package autobuild

import (
	"time"

	"slipway/config/secret"
)

// A Provider is one Bitbucket that the gateway talks to, with its OAuth client.
type Provider struct {
	ID           string
	Kind         ProviderKind
	Name         string // as the rules file names it
	WebURL       string // origin of pages, OAuth and git: https://bitbucket.org
	APIURL       string // origin of REST: https://api.bitbucket.org
	ClientID     string // the OAuth consumer's key
	ClientSecret secret.Secret
}

// Configured reports whether accounts can be linked through OAuth.
func (p Provider) Configured() bool { return p.ClientID != "" && !p.ClientSecret.IsZero() }

// Role says whether a user administers the installation. What other users may do follows from
// their permissions at Bitbucket.
type Role string

// The roles.
const (
	RoleNone  Role = "none"  // rights come from Bitbucket alone
	RoleAdmin Role = "admin" // may do everything, settings and people included
)

// A User is a Bitbucket identity that signed in. There are no passwords: the first
// administrator comes by a one-time token and takes an identity by linking an account.
type User struct {
	ID         string
	ProviderID string // empty until an identity was taken
	RemoteID   string // Cloud: the account's uuid
	Name       string
	Role       Role
	CreatedAt  time.Time
}

// A Session is a signed-in browser.
type Session struct {
	ID        string // SHA-256 of the cookie's value, hex
	UserID    string
	CreatedAt time.Time
	ExpiresAt time.Time
	Grant     Grant // of the sign-in; zero if it came by the one-time token, or an account holds it
}

// An OAuthFlow is one link or sign-in under way, taken once.
type OAuthFlow struct {
	State        string // SHA-256 of the state parameter, hex
	BrowserID    string // SHA-256 of the browser's flow cookie, hex
	ProviderID   string
	UserID       string // who links; empty when somebody signs in
	CodeVerifier secret.Secret
	ReturnTo     string // a local path
	ExpiresAt    time.Time
}

// AccountKind says what a linked account's credential is.
type AccountKind string

// The kinds of credentials. Access tokens belong to the installation, not to a user.
const (
	AccountOAuth           AccountKind = "oauth"
	AccountWorkspaceToken  AccountKind = "workspace_token"
	AccountProjectToken    AccountKind = "project_token"
	AccountRepositoryToken AccountKind = "repository_token"
)

// AccountState says whether an account can be used.
type AccountState string

// Broken accounts keep their queue; re-linking resumes it.
const (
	AccountLinked AccountState = "linked"
	AccountBroken AccountState = "broken"
)

// An Account is a linked account: a credential to a provider.
type Account struct {
	ID           string
	ProviderID   string
	Kind         AccountKind
	UserID       string // of OAuth links: whose it is
	Name         string // the Bitbucket user's nickname, or what the token was named
	RemoteID     string
	Scopes       []string
	Repository   string // of repository tokens: its full name
	Workspace    string // of workspace and project tokens: the workspace's slug
	AccessToken  secret.Secret
	RefreshToken secret.Secret // rotates at every use
	ExpiresAt    time.Time     // of AccessToken; zero = does not expire
	State        AccountState
	Problem      string // why it is broken, for people
	Version      int64  // rises with each change of the tokens
	LinkedAt     time.Time
}

// An AutomatedBuild is one repository, one image and the rules between them.
type AutomatedBuild struct {
	ID          string
	AccountID   string
	Repository  Repository
	Image       string // registry/name, without a tag
	Engine      string
	Autotest    Autotest
	Environment map[string]secret.Secret
	Rules       []Rule
	CreatedBy   string // user id
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// HookState says how a repository's pushes reach us.
type HookState string

// HookPolled: no webhook could be had; refs are polled, and Problem says why.
const (
	HookActive HookState = "active"
	HookPolled HookState = "polled"
)

// A Hook is our webhook on one repository, shared by its automated builds.
type Hook struct {
	ID             string // the last part of our URL; not a secret
	AccountID      string // whose credential manages it
	Repository     Repository
	RemoteID       string // Bitbucket's id of it; empty when polled
	Secret         secret.Secret
	PreviousSecret secret.Secret // accepted until PreviousUntil
	PreviousUntil  time.Time
	SecretVersion  int64 // counts the secrets, from 1
	SecretWritten  int64 // the newest version that Bitbucket confirmed; set by the store alone
	State          HookState
	Problem        string
	PolledAt       time.Time
	DeliveredAt    time.Time // of the last valid delivery; a manual webhook shows itself by it
}

// SecretPending reports whether Bitbucket may still sign with the previous secret of an active
// webhook: the new one is stored, and Bitbucket has not confirmed it.
func (h Hook) SecretPending() bool { return h.State == HookActive && h.SecretWritten < h.SecretVersion }

// A Webhook is what we ask a provider to keep: one URL, signed with one secret.
type Webhook struct {
	RemoteID string // empty when not known yet
	URL      string
	Secret   secret.Secret
	Rewrite  bool // write the secret even if the webhook needs no repair
}

// A GitCredential authenticates git over HTTPS.
type GitCredential struct {
	Username string
	Password secret.Secret
}
