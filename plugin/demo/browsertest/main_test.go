package browsertest_test

import (
	"testing"

	"slipway/plugin/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m) }
