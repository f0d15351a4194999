package web

import (
	"cmp"
	"slices"

	"slipway/config"
	"slipway/plugin/web/pages"
)

// engines returns all engines for the page: the default first, the ones without settings last.
func engines(c config.Gateway, cis map[string]pages.CI, isolation pages.Isolation) []pages.Engine {
	drone := ciEngine("drone", "SLIPWAY_DRONE_", c.Drone.CI, cis)
	drone.Runners = c.Drone.Type + ", " + c.Drone.Platform
	all := []pages.Engine{
		{
			Name: "embedded", Prefix: "SLIPWAY_", Configured: true, Limit: c.Concurrency, Builder: c.Builder,
			Isolation: isolation,
		},
		{Name: "own", Configured: true},
		drone,
		ciEngine("woodpecker", "SLIPWAY_WOODPECKER_", c.Woodpecker.CI, cis),
	}
	order := func(e pages.Engine) int {
		switch {
		case e.Name == c.Engine:
			return 0
		case e.Configured:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b pages.Engine) int { return cmp.Compare(order(a), order(b)) })
	return all
}

func ciEngine(name, prefix string, c config.CI, cis map[string]pages.CI) pages.Engine {
	return pages.Engine{
		Name: name, Prefix: prefix, Configured: c.Server != "", Limit: c.Concurrency, Builder: c.Builder,
		CI: cis[name], Server: c.Server, Repository: c.Repository, Image: c.Image,
	}
}
