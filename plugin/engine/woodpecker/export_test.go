package woodpecker

import "slipway/plugin/engine/pipeline"

// CI is the engine's client, for tests of what the shared engine does not pass on.
func (e *Engine) CI() pipeline.CI { return e.client }
