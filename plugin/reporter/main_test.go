package reporter_test

import (
	"os"
	"testing"

	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.RunBesidePostgres(m)) }
