// Package planner turns what is said to have happened into builds: deliveries of
// webhooks, polls of refs, and people who press Start.
//
// A delivery is a hint. Its repository must be the hook's, and each ref that it says
// moved is looked up at the provider with our own credential before anything follows
// from it (accept). What is accepted is put to every rule of the repository's automated
// builds, and transitions, decisions and builds are stored in one transaction. The
// planner starts nothing and reports nothing: the dispatcher and the reporter do, by the
// tasks that the transaction made.
package planner
