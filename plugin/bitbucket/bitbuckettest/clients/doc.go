// Package clients tests that clients of Bitbucket Cloud work with bitbuckettest: go-scm, go-bitbucket and
// npm's bitbucket. It is a module of its own, so that the program does not depend on them. It reaches the
// server only over HTTP: the tests build and start the command fakebitbucket of the main module.
//
// Each client makes the calls that a build service needs, and checks what it parsed. Calls that only a
// client of another kind needs are answered as Bitbucket answers a build service.
package clients
