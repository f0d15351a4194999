package buildservice

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultRunnerUser is the user of runners if the service is root. No Debian account has these numbers.
const DefaultRunnerUser = "64000:64000"

// MaxRunners bounds the runners of a service. Each has its own uid, counted up from the first one.
const MaxRunners = 256

// nobody is the user and the group that the kernel shows for IDs without a mapping. Services of other programs
// run as nobody.
const nobody = 65534

// ParseUser parses the user of the first runner, e.g. "64000:64000". Both numbers are from 1 to 2147483647. No
// runner may be nobody: neither the group nor one of the MaxRunners users from the first one.
func ParseUser(text string) (uid, gid int, err error) {
	u, g, _ := strings.Cut(text, ":")
	uid, errU := parseID(u)
	gid, errG := parseID(g)
	if errU != nil || errG != nil {
		return 0, 0, fmt.Errorf(
			"%q is not uid:gid with numbers above 0: set it, for example %s",
			text,
			DefaultRunnerUser,
		)
	}
	switch {
	case uid <= nobody && nobody < uid+MaxRunners:
		return 0, 0, fmt.Errorf("%q: runners have the users from %d to %d, and %d is nobody: set it, for example %s",
			text, uid, uid+MaxRunners-1, nobody, DefaultRunnerUser)
	case gid == nobody:
		return 0, 0, fmt.Errorf("%q: group %d is nogroup: set it, for example %s", text, gid, DefaultRunnerUser)
	case uid > maxID-MaxRunners:
		return 0, 0, fmt.Errorf(
			"%q: runners have the users from %d, and the last one would be above %d: set it, for example %s",
			text,
			uid,
			maxID,
			DefaultRunnerUser,
		)
	}
	return uid, gid, nil
}

// maxID is the largest ID of a user that parseID accepts.
const maxID = 1<<31 - 1

// parseID parses an ID. The kernel has 32 bits for it: a larger number could be 0, which is root.
func parseID(text string) (int, error) {
	id, err := strconv.ParseUint(text, 10, 31)
	if err == nil && id == 0 {
		err = strconv.ErrRange
	}
	return int(id), err
}
