package queue

// Backoff is the delay after a failed attempt, for tests.
var Backoff = backoff
