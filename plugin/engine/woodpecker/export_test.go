package woodpecker

import "slipway/plugin/engine/pipeline"

// CI returns the engine's client, for tests of methods that the shared engine does not expose.
func (engine *Engine) CI() pipeline.CI { return engine.client }
