package sandbox

import "testing"

// A builder for several clients must not give them the files of a directory of its machine.
func TestOnlyABuilderOfAStepReadsTheContextItself(t *testing.T) {
	variables := map[string]string{contextVar: "/somewhere"}
	getenv := func(name string) string { return variables[name] }
	if got := readStage(getenv).environment().Context; got != "" {
		t.Errorf("a builder for several clients: got context %q, want none", got)
	}
	variables[inProcessVar] = "1"
	if got := readStage(getenv).environment().Context; got != "/somewhere" {
		t.Errorf("a builder of a step: got context %q, want /somewhere", got)
	}
}

func TestAStageKnowsItsProcessIDOutside(t *testing.T) {
	for name, want := range map[string]int{"": 0, stageInit: 42, stageRun: 42} {
		variables := map[string]string{stageVar: name, launchPIDVar: "42"}
		got := readStage(func(name string) string { return variables[name] }).environment().PID
		if got != want {
			t.Errorf("stage %q: got %d, want %d", name, got, want)
		}
	}
}
