// Package bitbucket is the wire to a Bitbucket: one Client sends bounded, retried,
// rate-limited requests to one API origin and answers with typed errors.
//
// The credential goes to that origin and to nowhere else: scheme, host and port must be
// equal, redirects to others go without it, and links to further pages are followed only
// within it. Packages cloud and datacenter know the calls; this one knows none.
//
// Sources: https://developer.atlassian.com/cloud/bitbucket/rest/intro/ and
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
package bitbucket
