package builder

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// An Obstacle is why no builder can run here.
type Obstacle struct {
	Name   string `json:"name"`   // of the Finding that it is
	Detail string `json:"detail"` // what was found
	Mend   string `json:"mend"`   // the one thing to change, for whoever runs the container or the machine
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

// An outcome is what launch tells who started it: how the server runs, or why there is none.
type outcome struct {
	Mode     string    `json:"mode,omitempty"`
	How      string    `json:"how,omitempty"` // the mode in words
	Obstacle *Obstacle `json:"obstacle,omitempty"`
}

const (
	outcomeVar = "SLIPWAY_BUILDER_OUTCOME" // the file that the outcome is written to
	maxOutcome = 64 << 10                  // bytes
)

// tell writes the outcome where the starter wants it, if it does.
func tell(o outcome) error {
	path := os.Getenv(outcomeVar)
	if path == "" {
		return nil
	}
	text, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(path, text, 0o600) //nolint:gosec // named by the starter, in its own directory
	}
	if err != nil {
		return fmt.Errorf("tell how the builder runs: %w", err)
	}
	return nil
}

// told reads an outcome; there is none yet where launch has not come so far.
func told(path string) (o outcome) {
	file, err := os.Open(path)
	if err != nil {
		return o
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxOutcome)).Decode(&o); err != nil {
		return outcome{}
	}
	return o
}
