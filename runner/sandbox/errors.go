package sandbox

import "fmt"

// A NotSupportedError reports why no builder can run on this machine.
type NotSupportedError struct {
	Name   string // name of the failed Finding
	Detail string // the cause
	Fix    string // the fix for the operator of the container or the machine
}

// Error implements the interface error.
func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("no builder can run here: %s: %s", e.Detail, e.Fix)
}

// LacksPrivilege reports whether the cause is that this process has no right to mount. The fix is
// more privilege for the container, or a builder on another machine.
func (e *NotSupportedError) LacksPrivilege() bool { return e.Name == findingMode }

func (p isolationPlan) notSupported() *NotSupportedError {
	return &NotSupportedError{Name: findingMode, Detail: p.why(), Fix: p.fix}
}
