// Package cloud calls Bitbucket Cloud's REST API 2.0: the calls that turning pushes into
// builds needs, and none of those that Atlassian removed (CHANGE-2770).
//
// Repositories are addressed by {workspace uuid}/{repository uuid}, since names change. The
// Client is safe for concurrent use; its errors are those of package bitbucket.
//
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/.
package cloud
