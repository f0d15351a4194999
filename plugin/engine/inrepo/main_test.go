package inrepo_test

import (
	"testing"

	"slipway/plugin/demo/world/worldtest"
)

func TestMain(m *testing.M) { worldtest.Main(m) }
