// Package bitbuckettest is a Bitbucket Cloud as an http.Handler.
//
// It is faithful where a client can tell: OAuth 2 pages and rotating tokens, the REST calls
// that a build service needs with their error bodies and limits, real git over HTTP on real
// repositories, and signed webhooks for every real push. Web pages, git and REST API share
// one origin: https://bitbucket.org and https://api.bitbucket.org both become Server.URL.
//
//	server, err := bitbuckettest.New(bitbuckettest.Options{Root: dir})
//	listener := httptest.NewServer(server)
//	server.SetURL(listener.URL)
//
//	alice := server.AddUser("alice")
//	acme := server.AddWorkspace("acme", alice)
//	app, err := server.AddRepository(acme, "app", bitbuckettest.Private)
//	commit, err := app.Commit(ctx, "main", map[string]string{"Dockerfile": "FROM scratch\n"}, "Start")
//	err = server.WaitIdle(ctx) // every webhook has been delivered or given up
//
// Tests and the demo use it; package faults, beside it, makes it misbehave. Everything that
// it keeps is in memory, but for the repositories, which are below Options.Root. All methods
// are safe for concurrent use. It needs git on the PATH.
//
// What it follows: https://developer.atlassian.com/cloud/bitbucket/rest/intro/ and
// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/.
package bitbuckettest
