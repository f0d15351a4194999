// Package bitbucket is an HTTP client for one Bitbucket API. A Client limits the size and the
// rate of calls, retries them, and returns typed errors.
//
// A Client sends its credential only to the configured origin: scheme, host and port must be
// equal. It follows a redirect to another origin without the credential. It follows links to
// further pages only within the origin. Packages cloud and datacenter define the calls.
//
// Sources: https://developer.atlassian.com/cloud/bitbucket/rest/intro/ and
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
package bitbucket
