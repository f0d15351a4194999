package queue

// Backoff exports backoff for tests.
var Backoff = backoff
