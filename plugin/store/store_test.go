package store_test

import (
	"testing"

	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

func TestSQLite(t *testing.T) {
	var recorded store.SQLRecorder
	open := func(t *testing.T) *store.Store {
		s := storetest.Open(t)
		store.RecordSQL(t, s, &recorded)
		store.WatchLists(t, s)
		return s
	}
	storetest.Run(t, open)
	t.Run("lists with all filters", func(t *testing.T) { listWithAllFilters(t, open(t)) })
	t.Run("other statements", func(t *testing.T) { runOtherStatements(t, open(t)) })
	t.Run("every statement is run", func(t *testing.T) { checkAllRun(t, recorded.Texts()) })
	t.Run("query plans", func(t *testing.T) { checkPlans(t, &recorded) })
}

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return storetest.OpenPostgres(t) })
}
