package settings

import "os"

// OS is the process's environment.
type OS struct{}

var _ Environment = OS{}

// Environ is os.Environ.
func (OS) Environ() []string { return os.Environ() }

// Unsetenv is os.Unsetenv.
func (OS) Unsetenv(name string) error { return os.Unsetenv(name) }
