package buildservice

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultRunnerUser is the user of runners if the service is root. No Debian account has these numbers.
const DefaultRunnerUser = "64000:64000"

// ParseUser parses a user of runners, e.g. "64000:64000". Both numbers are above 0.
func ParseUser(text string) (uid, gid int, err error) {
	u, g, found := strings.Cut(text, ":")
	uid, errU := strconv.Atoi(u)
	gid, errG := strconv.Atoi(g)
	if !found || errU != nil || errG != nil || uid <= 0 || gid <= 0 {
		return 0, 0, fmt.Errorf(
			"%q is not uid:gid with numbers above 0: set it, for example %s",
			text,
			DefaultRunnerUser,
		)
	}
	return uid, gid, nil
}
