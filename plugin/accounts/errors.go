package accounts

import (
	"fmt"

	"slipway/plugin/autobuild"
)

// What linking and signing in can end with, besides the errors of package autobuild that
// these are cases of.
var (
	// ErrFlow: the state is unknown, used, expired or of another browser, or its code is not
	// accepted. The person starts again.
	ErrFlow = fmt.Errorf("%w: this link or sign-in is no longer valid; start it again", autobuild.ErrForbidden)
	// ErrDenied: the person did not grant access at the provider.
	ErrDenied = fmt.Errorf("%w: access was not granted", autobuild.ErrForbidden)
	// ErrIdentityTaken: the identity belongs to another user.
	ErrIdentityTaken = fmt.Errorf("%w: this Bitbucket account belongs to another user", autobuild.ErrConflict)
	// ErrNotConfigured: the source provider has no usable OAuth consumer.
	ErrNotConfigured = fmt.Errorf("%w: the source provider is not set up", autobuild.ErrForbidden)
)
