package web

import (
	"cmp"
	"slices"

	"slipway/config"
	"slipway/plugin/web/pages"
)

// engines are all that there are: the default first, and last those that are not configured.
func engines(c config.Gateway, cis map[string]pages.CI) []pages.Engine {
	drone := ofCI("drone", "SLIPWAY_DRONE_", c.Drone.CI, cis)
	drone.Runners = c.Drone.Type + ", " + c.Drone.Platform
	all := []pages.Engine{
		{Name: "embedded", Prefix: "SLIPWAY_", Configured: true, Limit: c.Concurrency, Builder: c.Builder},
		{Name: "own", Configured: true},
		drone,
		ofCI("woodpecker", "SLIPWAY_WOODPECKER_", c.Woodpecker, cis),
	}
	place := func(e pages.Engine) int {
		switch {
		case e.Name == c.Engine:
			return 0
		case e.Configured:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b pages.Engine) int { return cmp.Compare(place(a), place(b)) })
	return all
}

func ofCI(name, prefix string, c config.CI, cis map[string]pages.CI) pages.Engine {
	return pages.Engine{
		Name: name, Prefix: prefix, Configured: c.Server != "", Limit: c.Concurrency, Builder: c.Builder,
		CI: cis[name], Server: c.Server, Repository: c.Repository, Image: c.Image,
	}
}
