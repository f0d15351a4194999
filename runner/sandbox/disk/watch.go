package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"slipway/config/size"
)

// A Watch limits a directory that shares its file system with other programs, because this process cannot mount
// a disk of its own. It does not hold the limit: a program may write more between two measurements. But it
// protects the free space of the file system, which it reads so often that a program with 1 GB/s does not fill it.
type Watch struct {
	Dir     string
	Limit   int64 // bytes of the directory; the number of its files is limited as on a disk of this size
	Reserve int64 // free bytes that the file system should keep
}

// The intervals of a Watch.
const (
	// reservePeriod is the interval in which the free space is read, which takes some microseconds. A program
	// with 1 GB/s writes 20 MB in it.
	reservePeriod = 20 * time.Millisecond
	// measurePeriod is the shortest interval of the measurements. One takes about a second per 300,000 files.
	measurePeriod = time.Second
	// measureShare is the part of the time, 1/measureShare, in which a Watch measures.
	measureShare = 10
	// urgentPeriod and urgentShare are the same if the free space is below the reserve.
	urgentPeriod = 200 * time.Millisecond
	urgentShare  = 2
)

const (
	// inodeReserve is the part of the inodes, 1/inodeReserve, that the file system should keep free, at most
	// maxInodeReserve. A program makes about 100,000 files a second.
	inodeReserve    = 20
	maxInodeReserve = 100_000
	// growthShare is the part of the reserve, 1/growthShare, by which a directory may grow while the free space
	// is below the reserve. So the programs of one directory do not end those of others.
	growthShare = 8
)

// An OverError reports that the directory of a Watch exceeds a limit, or that it cannot be measured.
type OverError struct {
	detail string
	err    error // nil, or the error of the measurement
}

// Error implements the interface error.
func (e *OverError) Error() string {
	text := "the directory is too large" + e.detail
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

// Unwrap returns the error of the measurement, or nil.
func (e *OverError) Unwrap() error { return e.err }

// Reason returns the reason for which a program was ended. It begins with full, for example "the disk of the
// build is full", and ends with the name of a setting.
func (e *OverError) Reason(full, setting string) string { return full + e.detail + ": " + setting }

// Run watches the directory until it exceeds a limit, or until ctx ends. In the first case the error is an
// *OverError, otherwise it is the cause of ctx, or an error of the file system.
func (w Watch) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	amounts, ended := make(chan Amount), make(chan error, 1)
	again := make(chan struct{}, 1) // holds a token if a measurement is needed at once
	go func() { ended <- w.measure(ctx, amounts, again) }()
	err := w.follow(ctx, amounts, again, ended)
	cancel()
	return err
}

// follow returns the error of Run.
func (w Watch) follow(ctx context.Context, amounts <-chan Amount, again chan<- struct{}, ended <-chan error) error {
	ticker := time.NewTicker(reservePeriod)
	defer ticker.Stop()
	var growth growth
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ended:
			return err
		case amount := <-amounts:
			growth.add(amount)
			if over := w.overLimit(amount); over != nil {
				return over
			}
		case <-ticker.C:
			usage, err := Read(w.Dir)
			if err != nil {
				return err
			}
			over, unsure := w.overReserve(usage, growth)
			if over != nil {
				return over
			}
			if unsure {
				wake(again)
			}
		}
	}
}

// measure sends an amount after each measurement. It returns an error if a measurement fails.
func (w Watch) measure(ctx context.Context, amounts chan<- Amount, again <-chan struct{}) error {
	for {
		start := time.Now()
		amount, err := Measure(ctx, w.Dir, w.Amount())
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil: // a program could hide its files so
			return &OverError{detail: ": its files cannot be measured", err: err}
		}
		select {
		case amounts <- amount:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := waitMeasure(ctx, time.Since(start), again); err != nil {
			return err
		}
	}
}

// waitMeasure waits until the next measurement. took is the time of the last one.
func waitMeasure(ctx context.Context, took time.Duration, again <-chan struct{}) error {
	soon := time.After(max(urgentPeriod, urgentShare*took))
	select {
	case <-time.After(max(measurePeriod, measureShare*took)):
		return nil
	case <-again:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-soon:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Amount returns the limit of the directory. A disk of the same size has as many inodes.
func (w Watch) Amount() Amount { return Amount{Bytes: w.Limit, Files: w.Limit / bytesPerInode} }

// overLimit returns an error if the directory is too large.
func (w Watch) overLimit(a Amount) *OverError {
	switch limit := w.Amount(); {
	case a.Bytes > limit.Bytes:
		return &OverError{detail: ", limit " + size.Format(limit.Bytes)}
	case a.Files > limit.Files:
		return &OverError{detail: fmt.Sprintf(": it has more than %d files", limit.Files)}
	}
	return nil
}

// overReserve returns an error if the file system has too little free space because of the directory. If the
// directory has not grown yet, another one may be the cause, so overReserve waits until half of the reserve is
// used. Then it is unsure.
func (w Watch) overReserve(u Usage, g growth) (over *OverError, unsure bool) {
	for _, r := range []struct {
		free, reserve, grown int64
		detail               string
	}{
		{u.FreeBytes, w.Reserve, g.amount().Bytes, "less than " + size.Format(w.Reserve) + " of free space"},
		{u.FreeInodes, inodesToKeep(u), g.amount().Files, "too few free inodes"},
	} {
		switch {
		case r.free >= r.reserve:
		case r.free < r.reserve/2, r.grown >= r.reserve/growthShare:
			return &OverError{detail: ": the machine has " + r.detail}, false
		default:
			unsure = true
		}
	}
	return nil, unsure
}

// inodesToKeep returns the number of inodes that a file system should keep free; 0 = it has no fixed number.
func inodesToKeep(u Usage) int64 { return min(u.Inodes/inodeReserve, maxInodeReserve) }

// A growth is the difference between the first and the last measurement.
type growth struct {
	first, last Amount
	known       bool
}

func (g *growth) add(a Amount) {
	if !g.known {
		g.first, g.known = a, true
	}
	g.last = a
}

func (g growth) amount() Amount {
	return Amount{Bytes: g.last.Bytes - g.first.Bytes, Files: g.last.Files - g.first.Files}
}

// HasRoom returns an error if a program in the directory would be ended at once.
func (w Watch) HasRoom() error {
	usage, err := Read(w.Dir)
	if err != nil {
		return err
	}
	if over, unsure := w.overReserve(usage, growth{}); over != nil || unsure {
		return fmt.Errorf("the disk of %s has %s and %d files free, and builds leave %s and %d files: free space there",
			w.Dir, size.Format(usage.FreeBytes), usage.FreeInodes, size.Format(w.Reserve), inodesToKeep(usage))
	}
	return nil
}

// FilledByOthers returns an error if the file system would have too little free space even without the directory,
// so that neither its limit nor the end of its programs helps. It returns nil if the directory exceeds its limit.
func (w Watch) FilledByOthers(ctx context.Context) error {
	usage, err := Read(w.Dir)
	if err != nil {
		return nil //nolint:nilerr // not known
	}
	own, err := Measure(ctx, w.Dir, w.Amount())
	if err != nil || !own.Within(w.Amount()) {
		return nil //nolint:nilerr // not known
	}
	if usage.FreeBytes+own.Bytes >= w.Reserve && usage.FreeInodes+own.Files >= inodesToKeep(usage) {
		return nil
	}
	return fmt.Errorf("other programs fill the disk of %s: it has %s and %d files free, builds leave %s and %d files, "+
		"and the builder has only %s in %d files: free space there", w.Dir, size.Format(usage.FreeBytes),
		usage.FreeInodes, size.Format(w.Reserve), inodesToKeep(usage), size.Format(own.Bytes), own.Files)
}

// wake puts a token into a channel that holds one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
