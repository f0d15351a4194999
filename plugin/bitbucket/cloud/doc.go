// Package cloud calls Bitbucket Cloud's REST API 2.0. It has only the calls that Slipway needs,
// and none that Atlassian removed (CHANGE-2770).
//
// It addresses repositories by {workspace uuid}/{repository uuid}, because names change. The
// Client is safe for concurrent use. Its errors are those of package bitbucket.
//
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/.
package cloud
