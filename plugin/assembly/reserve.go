package assembly

import (
	"fmt"

	"golang.org/x/sys/unix"

	"slipway/config"
	"slipway/config/size"
)

// A Reserve is the free space that the disk of the data directory keeps for the database. Below it the
// gateway starts no build, and still stores pushes. It is safe for concurrent use.
type Reserve struct {
	Dir   string // the data directory
	Bytes int64  // 0 = no reserve
}

// DataReserve returns the reserve of an installation.
func DataReserve(c config.Gateway) (Reserve, error) {
	bytes, err := size.ParseOptional(c.DataReserve)
	if err != nil {
		return Reserve{}, fmt.Errorf("SLIPWAY_DATA_RESERVE: %w", err)
	}
	return Reserve{Dir: c.Data, Bytes: bytes}, nil
}

// Check reads the free space. It returns an error with the disk, its free space and the setting if the
// reserve is in use. A fault of the check itself is no error.
func (r Reserve) Check() error {
	var s unix.Statfs_t
	if err := unix.Statfs(r.Dir, &s); err != nil {
		return nil //nolint:nilerr // the database reports a missing directory
	}
	free := int64(s.Bavail) * s.Bsize //nolint:gosec // a number of blocks fits
	if free >= r.Bytes && (s.Files == 0 || s.Ffree > 0) {
		return nil
	}
	return fmt.Errorf(
		"the disk of SLIPWAY_DATA=%s has %s and %d files free, and SLIPWAY_DATA_RESERVE is %s: free space there",
		r.Dir,
		size.Format(free),
		s.Ffree,
		size.Format(r.Bytes),
	)
}
