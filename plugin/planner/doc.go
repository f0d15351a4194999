// Package planner creates builds from webhook deliveries, missed pushes and manual requests.
//
// A delivery is only a hint. Its repository must be the repository of the webhook. The planner
// looks up each reported ref at the provider with our own credentials before it decides
// (evaluate). Each accepted change is checked against every rule of the repository's automated
// builds. Transitions, decisions and builds are stored in one transaction. The planner starts no
// build and reports no status: the transaction creates tasks for the dispatcher and the reporter.
package planner
