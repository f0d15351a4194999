package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// dateTimeout bounds the time in which git reads one commit.
const dateTimeout = 10 * time.Second

// maxDate is longer than any number of seconds, in bytes.
const maxDate = 64

// AuthorDate returns the author date of the commit that is checked out in a directory. The directory may
// belong to another user, as a CI's workspace does. git runs no program of its configuration and fetches
// no missing object.
// Source: https://git-scm.com/docs/partial-clone
func AuthorDate(ctx context.Context, dir string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, dateTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "log", "-1", "--no-show-signature", "--format=%at")
	cmd.Dir, cmd.Env = dir, []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL=",
	}
	out, failure := &head{limit: maxDate}, &head{limit: maxOutput}
	cmd.Stdout, cmd.Stderr = out, failure
	if err := cmd.Run(); err != nil {
		return time.Time{}, errors.Join(
			fmt.Errorf("git log: %s: %w", strings.TrimSpace(failure.String()), err),
			context.Cause(ctx),
		)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("git log: %q is not a date", out.String())
	}
	return time.Unix(seconds, 0), nil
}
