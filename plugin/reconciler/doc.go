// Package reconciler finds pushes that no webhook delivery reported, and broken webhooks.
//
// It polls the refs of every repository, compares them with the stored refs, and passes the
// differences to the planner. Before it polls a repository that has a webhook, it checks the
// webhook. Polls are spread so that they use at most half of Bitbucket Cloud's rate limit.
package reconciler
