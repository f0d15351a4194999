package accounts

import (
	"fmt"

	"slipway/plugin/autobuild"
)

// Errors of linking and signing in. Each of them wraps an error of package autobuild.
var (
	// ErrFlow means that the flow cannot be finished: its state is unknown, used, expired or from
	// another browser, or the provider rejects the code. The person has to start again.
	ErrFlow = fmt.Errorf("%w: this link or sign-in is no longer valid: start again", autobuild.ErrForbidden)
	// ErrDenied means that the person did not grant access at the provider.
	ErrDenied = fmt.Errorf("%w: access was not granted", autobuild.ErrForbidden)
	// ErrIdentityTaken means that the Bitbucket identity belongs to another user.
	ErrIdentityTaken = fmt.Errorf("%w: this Bitbucket account belongs to another user", autobuild.ErrConflict)
	// ErrNotConfigured means that the source provider has no usable OAuth consumer.
	ErrNotConfigured = fmt.Errorf("%w: the source provider is not set up", autobuild.ErrForbidden)
)
