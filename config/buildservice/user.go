package buildservice

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultRunnerUser is the user of runners if the service is root. No Debian account has these numbers.
const DefaultRunnerUser = "64000:64000"

// ParseUser parses a user of runners, e.g. "64000:64000". Both numbers are from 1 to 2147483647.
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
	return uid, gid, nil
}

// parseID parses an ID. The kernel has 32 bits for it: a larger number could be 0, which is root.
func parseID(text string) (int, error) {
	id, err := strconv.ParseUint(text, 10, 31)
	if err == nil && id == 0 {
		err = strconv.ErrRange
	}
	return int(id), err
}
