package config

// Version is the version of this binary. The Makefile sets it at build time with -ldflags -X.
var Version = "dev"
