package server

import (
	"cmp"
	"io"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"slipway/runner/sandbox"
	"slipway/runner/sandbox/crashsafe"
	"slipway/runner/sandbox/server/builddisk"
)

// An ending closes the parts of a server. The state is recorded as closed only if the server ended as it should, and
// all parts before it were closed. Otherwise it is deleted after the machine's next boot.
type ending struct {
	log   logrus.FieldLogger
	state *crashsafe.State // nil = the state is deleted after the server has ended
	clean bool
}

// openState makes the state ready for use. It deletes a cache that a crash of the machine may have damaged.
func openState(c Config) (*ending, error) {
	end := &ending{log: c.Log}
	if c.Environment.Ephemeral || c.WriteLayers {
		return end, nil
	}
	var err error
	end.state, err = crashsafe.Open(
		c.State,
		cmp.Or(c.Environment.Machine, sandbox.ThisMachine()),
		func(reason string) { c.Log.WithField("state", c.State).Warn("the cache is deleted: " + reason) },
	)
	return end, err
}

// served records and returns the result of the server.
func (e *ending) served(err error) error {
	e.clean = err == nil
	return err
}

func (e *ending) closeEngine(engine io.Closer) {
	if err := engine.Close(); err != nil {
		e.clean = false
		e.log.WithError(err).Warn("cannot close the builder")
	}
}

// closeDisk gives the free space of the disk back to the machine, and unmounts it.
func (e *ending) closeDisk(own *builddisk.Disk) {
	if err := own.Close(); err != nil {
		e.log.WithError(err).Warn("cannot remove the disk of this builder, which still uses space of the machine")
	}
	if err := own.Unmount(); err != nil {
		e.clean = false
		e.log.WithError(err).Warn("cannot unmount the disk of this builder")
	}
}

// closeState writes the state to the disk, and records that it is closed.
func (e *ending) closeState() {
	if e.state == nil || !e.clean {
		return
	}
	if err := e.state.Close(); err != nil {
		e.log.WithError(err).Warn("the cache is deleted after the next boot of the machine")
	}
}

// databaseOptions returns the options of a database in the state. Commits do not wait for the disk: a state that was
// not closed is deleted after a crash of the machine, and closeState syncs all databases. A build without changes
// commits 30 times to containerdmeta.db alone.
func databaseOptions() *bolt.Options {
	return &bolt.Options{FreelistType: bolt.FreelistMapType, NoSync: true, NoGrowSync: true}
}

// withoutSync is the same for the database of containerd's snapshots. It always returns nil.
func withoutSync(o *bolt.Options) error {
	o.NoSync, o.NoGrowSync = true, true
	return nil
}
