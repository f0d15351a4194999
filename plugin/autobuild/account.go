package autobuild

import (
	"time"

	"slipway/config/secret"
)

// A Provider is one Bitbucket (Cloud or a Data Center instance) with its OAuth client.
type Provider struct {
	ID           string
	Kind         ProviderKind
	Name         string // its name in the rules file
	WebURL       string // origin of pages, OAuth and git: https://bitbucket.org
	APIURL       string // origin of REST: https://api.bitbucket.org
	ClientID     string // the OAuth consumer's key
	ClientSecret secret.Secret
}

// Configured reports whether accounts can be linked through OAuth.
func (p Provider) Configured() bool { return p.ClientID != "" && !p.ClientSecret.IsZero() }

// A Role is a user's role in the installation. The rights of users who are not administrators
// come from their permissions at Bitbucket.
type Role string

// The roles.
const (
	RoleNone  Role = "none"  // rights come from Bitbucket only
	RoleAdmin Role = "admin" // may do everything, including settings and users
)

// A User is a Bitbucket identity that signed in. There are no passwords. The first administrator
// signs in with a one-time token and gets an identity by linking an account.
type User struct {
	ID         string
	ProviderID string // empty until the user has an identity
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
	Grant     Grant // of the sign-in; zero for the one-time token, or if an account holds it
}

// An OAuthFlow is one pending link or sign-in. It is used once.
type OAuthFlow struct {
	State        string // SHA-256 of the state parameter, hex
	BrowserID    string // SHA-256 of the browser's flow cookie, hex
	ProviderID   string
	UserID       string // the user who links an account; empty for a sign-in
	CodeVerifier secret.Secret
	ReturnTo     string // a local path
	ExpiresAt    time.Time
}

// An AccountKind is the kind of a linked account's credential.
type AccountKind string

// The kinds of credentials. Access tokens belong to the installation, not to a user.
const (
	AccountOAuth           AccountKind = "oauth"
	AccountWorkspaceToken  AccountKind = "workspace_token"
	AccountProjectToken    AccountKind = "project_token"
	AccountRepositoryToken AccountKind = "repository_token"
)

// An AccountState is the state of a linked account: usable or broken.
type AccountState string

// The states. Builds of a broken account stay queued until the account is linked again.
const (
	AccountLinked AccountState = "linked"
	AccountBroken AccountState = "broken"
)

// An Account is a linked account: a credential to a provider.
type Account struct {
	ID           string
	ProviderID   string
	Kind         AccountKind
	UserID       string // the owner of an OAuth link
	Name         string // the Bitbucket user's nickname, or the name of the token
	RemoteID     string
	Scopes       []string
	Repository   string // full name; for repository tokens only
	Workspace    string // the workspace's slug; for workspace and project tokens only
	AccessToken  secret.Secret
	RefreshToken secret.Secret // replaced by each use
	ExpiresAt    time.Time     // of AccessToken; zero means does not expire
	State        AccountState
	Problem      string // why it is broken, for the pages
	Version      int64  // rises with each change of the tokens
	LinkedAt     time.Time
}

// Stopped returns why nothing is built with the account, for people. It is empty for a usable account.
func (a Account) Stopped() string {
	return AccountUse{a.ID, a.State, !a.AccessToken.IsZero() || !a.RefreshToken.IsZero()}.Stopped()
}

// An AccountUse is the part of an account that decides whether it can be used. It holds no token.
type AccountUse struct {
	ID        string // empty means that the account does not exist
	State     AccountState
	HasTokens bool // false after it was unlinked
}

// Stopped is Account.Stopped.
func (a AccountUse) Stopped() string {
	switch {
	case a.ID == "":
		return "No linked account: nothing is built."
	case a.State != AccountBroken:
		return ""
	case !a.HasTokens:
		return "Account unlinked: nothing is built."
	}
	return "Account broken: nothing is built."
}

// An AutomatedBuild builds one image from one repository by its rules.
type AutomatedBuild struct {
	ID          string
	AccountID   string
	Repository  Repository
	Image       string // registry/name, without a tag
	Engine      string
	Autotest    Autotest
	HooksOff    bool // a build whose repository has build hooks fails
	TestsOff    bool // test files beside a Dockerfile are ignored; otherwise a build that has one fails
	SkipCIOff   bool // commits whose message says [skip ci] are built
	Environment map[string]secret.Secret
	Rules       []Rule
	CreatedBy   string // user id
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// A HookState is the state of a repository's webhook. It decides how the gateway finds pushes.
type HookState string

// HookPolled means that no webhook could be created. The refs are polled, and Problem gives the
// reason.
const (
	HookActive HookState = "active"
	HookPolled HookState = "polled"
)

// A Hook is the gateway's webhook on one repository, shared by its automated builds.
type Hook struct {
	ID             string // the last part of the webhook's URL; not a secret
	AccountID      string // the account whose credential manages it
	Repository     Repository
	RemoteID       string // Bitbucket's id of it; empty if polled
	Secret         secret.Secret
	PreviousSecret secret.Secret // accepted until PreviousUntil
	PreviousUntil  time.Time
	SecretVersion  int64 // counts the secrets, from 1
	SecretWritten  int64 // the newest version that Bitbucket confirmed; set only by the store
	State          HookState
	Problem        string
	PolledAt       time.Time
	ListingProblem string    // what was suspicious about the last list of refs; set by SetListingProblem only
	DeliveredAt    time.Time // of the last valid delivery; shows that a manual webhook works
}

// SecretPending reports whether Bitbucket may still sign with the previous secret of an active
// webhook, because it has not confirmed the new one.
func (h Hook) SecretPending() bool { return h.State == HookActive && h.SecretWritten < h.SecretVersion }

// A Webhook is the wanted webhook at a provider: one URL, signed with one secret.
type Webhook struct {
	RemoteID string // empty if not known yet
	URL      string
	Secret   secret.Secret
	Rewrite  bool // write the secret even if the webhook needs no repair
}

// A GitCredential authenticates git over HTTPS.
type GitCredential struct {
	Username string
	Password secret.Secret
}
