// Package bitbuckettest is a Bitbucket Cloud as an http.Handler.
//
// It behaves like Cloud for clients: OAuth 2 pages and rotating tokens, the REST calls that a build
// service needs with their error bodies and limits, git over HTTP with real repositories, and signed
// webhooks for every push. Web pages, git and REST API share one origin: https://bitbucket.org and
// https://api.bitbucket.org both become Server.URL.
//
//	server, err := bitbuckettest.New(bitbuckettest.Options{Root: dir})
//	listener := httptest.NewServer(server)
//	server.SetURL(listener.URL)
//
//	alice := server.AddUser("alice")
//	acme := server.AddWorkspace("acme", alice)
//	app, err := server.AddRepository(acme, "app", bitbuckettest.Private)
//	commit, err := app.Commit(ctx, "main", map[string]string{"Dockerfile": "FROM scratch\n"}, "Start")
//	err = server.WaitIdle(ctx) // every webhook delivery has ended
//
// Lists have no order unless the request sorts them, and OnPage changes a repository between their pages.
// Forms of pages, texts of errors and content types are those of recorded answers of Cloud. The module
// clients checks the server with clients of other authors, over the command fakebitbucket.
//
// Tests and the demo use it. Package faults injects errors. The repositories are below Options.Root; all
// other state is in memory. All methods are safe for concurrent use. It needs git on the PATH.
//
// Sources: https://developer.atlassian.com/cloud/bitbucket/rest/intro/ and
// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/.
package bitbuckettest
