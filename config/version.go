package config

// Version is the version of this binary; the Makefile sets it at build time.
var Version = "dev"
