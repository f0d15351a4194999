// Package confine runs build hooks at the level `container`. They run in the container of a CI's step,
// because the step cannot make namespaces. A hook runs as another user if the step is root, else in a
// Landlock domain.
//
// The hook shares the file system and the network of the container. It cannot read the environment, the
// memory, the open files and the private files of the step, and cannot signal it. The directories of
// Share are the hook's own. When it ends, all its processes are killed.
//
// Each hook has a guard: a process of this program. The guard starts the hook, adopts its orphans, and
// kills them. The hook cannot signal its guard:
//
//	step    starts the guard and passes its output on; the guard ends with the step
//	guard   limits the number of processes, and starts the hook as another user; or, in a Landlock
//	        domain for its signals, the stage enter
//	enter   enters a further Landlock domain inside that of the guard, and executes the hook
package confine

import (
	"fmt"
	"os"
	"sync"
)

// DefaultProcesses is the default of Options.Processes.
const DefaultProcesses = 4096

// Options configure a Sandbox. The zero value is valid.
type Options struct {
	// Program is the command that calls Main, with its arguments; empty = this program's `runner hook`.
	Program []string
	// Processes is the largest number of processes and threads of the hook's user; 0 = DefaultProcesses.
	Processes uint64
}

// A Sandbox runs the hooks of one attempt. It is safe for concurrent use; hooks run one after another.
type Sandbox struct {
	o     Options
	level Level
	ids   ids // ids of LevelUser

	mu     sync.Mutex // held while a hook runs
	shared []string   // directories that hooks may change; for LevelLandlock
}

// New returns a sandbox of the best level that is possible here. If none is, it returns an
// *UnavailableError.
func New(o Options) (*Sandbox, error) {
	facts, err := ReadFacts()
	if err != nil {
		return nil, fmt.Errorf("find the isolation for build hooks: %w", err)
	}
	plan := MakePlan(facts)
	if plan.Level == LevelNone {
		return nil, &UnavailableError{Reasons: plan.Reasons}
	}
	if len(o.Program) == 0 {
		o.Program = []string{"/proc/self/exe", "runner", "hook"}
	}
	if o.Processes == 0 {
		o.Processes = DefaultProcesses
	}
	s := &Sandbox{o: o, level: plan.Level}
	if plan.Level == LevelUser {
		s.ids, err = unusedIDs(os.DirFS("/"))
	}
	return s, err
}

// String describes the isolation for the log, for example "level container: another user (uid 62017)".
func (s *Sandbox) String() string {
	if s.level == LevelUser {
		return fmt.Sprintf("level container: %s (uid %d)", s.level, s.ids.Hook)
	}
	return fmt.Sprintf("level container: %s", s.level)
}
