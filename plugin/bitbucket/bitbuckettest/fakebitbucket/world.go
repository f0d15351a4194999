package main

import (
	"context"
	"fmt"

	"slipway/plugin/bitbucket/bitbuckettest"
)

// A World describes the server and its only repository, acme/app. Alice owns it. It has the branches main
// and topic/1, 25 tags of its first commit, and an open pull request of topic/1.
type World struct {
	URL          string `json:"url"` // of the web pages; the API is at URL/2.0
	Token        string `json:"token"`
	RefreshToken string `json:"refresh_token"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Email        string `json:"email"`     // with APIToken, for Basic authentication
	APIToken     string `json:"api_token"` // with the scopes of a build service
	User         string `json:"user"`      // UUID
	Repository   string `json:"repository"`
	First        string `json:"first"`  // commit, parent of Second
	Second       string `json:"second"` // head of main, parent of Topic
	Topic        string `json:"topic"`
	Tags         int    `json:"tags"`
	PullRequest  int    `json:"pull_request"`
}

// scopes are those of the consumer: all that a build service needs, and e-mail addresses.
var scopes = []string{"account", "email", "repository", "webhook", "pullrequest"}

// tags is the number of tags: more than two pages.
const tags = 25

func build(ctx context.Context, server *bitbuckettest.Server) (World, error) {
	alice := server.AddUser("alice")
	acme := server.AddWorkspace("acme", alice)
	app, err := server.AddRepository(acme, "app", bitbuckettest.Private)
	if err != nil {
		return World{}, err
	}
	consumer, err := server.AddConsumer(acme, "https://ci.example.com/oauth", scopes...)
	if err != nil {
		return World{}, err
	}
	token, refresh := server.Link(alice, consumer)
	apiToken := alice.AddAPIToken("read:user:bitbucket", "read:repository:bitbucket", "read:account:bitbucket")
	w := World{
		URL: server.URL(), Token: token.Reveal(), RefreshToken: refresh.Reveal(), ClientID: consumer.Key,
		ClientSecret: consumer.Secret.Reveal(), Email: alice.Email, APIToken: apiToken.Reveal(),
		User: alice.UUID, Repository: app.FullName(), Tags: tags,
	}
	return w, w.fill(ctx, app, alice)
}

// fill commits, tags and opens the pull request.
func (w *World) fill(ctx context.Context, app *bitbuckettest.Repository, alice *bitbuckettest.User) error {
	var err error
	w.First, err = app.Commit(
		ctx,
		"main",
		map[string]string{"Dockerfile": "FROM scratch\n", "docs/a.md": "# A\n"},
		"First",
	)
	if err != nil {
		return err
	}
	w.Second, err = app.Commit(ctx, "main", map[string]string{"src/main.py": "print('two')\n"}, "Second")
	if err != nil {
		return err
	}
	w.Topic, err = app.Write(ctx, bitbuckettest.NewCommit{
		Parent: w.Second, Files: map[string]string{"src/topic.py": "print('topic')\n"}, Message: "Topic",
	})
	if err != nil {
		return err
	}
	refs := map[string]string{"refs/heads/topic/1": w.Topic}
	for i := range tags {
		refs[fmt.Sprintf("refs/tags/v%d", i+1)] = w.First
	}
	if err := app.Push(ctx, refs); err != nil {
		return err
	}
	pull, err := app.AddPullRequest(ctx, alice, "One", "topic/1", "main")
	if err != nil {
		return err
	}
	w.PullRequest = pull.ID
	return nil
}
