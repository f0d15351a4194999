// Package reconciler finds pushes that no webhook delivery reported, and broken webhooks.
//
// It lists the refs of every repository, compares them with the stored refs, and requests each ref
// that differs by itself. It passes the confirmed differences to the planner. Before it polls a
// repository that has a webhook, it checks the webhook. Polls are delayed so that they use about half
// of Bitbucket Cloud's rate limit.
package reconciler
