package builder

import "fmt"

// An Obstacle is why no builder can run here.
type Obstacle struct {
	Name   string // of the Finding that it is
	Detail string // what was found
	Mend   string // the one thing to change, for whoever runs the container or the machine
}

func (o *Obstacle) Error() string {
	return fmt.Sprintf("no builder can run here: %s: %s", o.Detail, o.Mend)
}

// Privilege reports whether this process lacks the right to mount. It has it when whoever runs
// the container gives it more, or none is needed: with a builder elsewhere.
func (o *Obstacle) Privilege() bool { return o.Name == findingMode }

func (p isolationPlan) obstacle() *Obstacle {
	return &Obstacle{Name: findingMode, Detail: p.why(), Mend: p.mend}
}
