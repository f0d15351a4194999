package sandbox

import "fmt"

// An Obstacle is an error that reports why no builder can run here.
type Obstacle struct {
	Name   string // name of the Finding
	Detail string // the cause
	Mend   string // the fix, for the operator of the container or the machine
}

func (o *Obstacle) Error() string {
	return fmt.Sprintf("no builder can run here: %s: %s", o.Detail, o.Mend)
}

// Privilege reports whether the cause is that this process has no right to mount. The fix is more
// privilege for the container, or a builder on another machine.
func (o *Obstacle) Privilege() bool { return o.Name == findingMode }

func (p isolationPlan) obstacle() *Obstacle {
	return &Obstacle{Name: findingMode, Detail: p.why(), Mend: p.mend}
}
