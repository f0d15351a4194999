package storetest

import (
	"testing"

	"slipway/plugin/store"
)

// Run holds a database to everything the stations rely on. open gives a new, empty store.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for name, test := range map[string]func(*testing.T, *store.Store){
		"a delivery is stored whole":                       deliveryRoundTrip,
		"deliveries are listed newest first":               deliveriesList,
		"concurrent deliveries are all stored":             deliveriesConcurrent,
		"a delivery whose sender gave up is not promised":  deliveryCancelled,
		"what was promised to impatient senders is stored": deliveriesGivenUp,
		"a delivery that waits says why":                   deliveryExplained,
		"a build that waits says why":                      buildExplained,
		"automated builds are listed by repository":        automatedBuildsList,
		"a baseline is not a transition":                   refBaseline,
		"A→B→A is three transitions":                       refsBackAndForth,
		"a plan from an old head is refused whole":         planConflict,
		"a delivery is planned once":                       planOnce,
		"a plan numbers the builds in its outcome":         planOutcome,
		"two tags on one commit are two builds (H5)":       planTwoTags,
		"a manual build is made once for its key":          createOnce,
		"builds are listed and paged":                      buildsList,
		"a build goes its way":                             buildSucceeds,
		"an error is tried three times":                    buildRetries,
		"a person's retry begins anew":                     buildRetriedByPerson,
		"cancel ends a queued build":                       cancelQueued,
		"cancel fences a running attempt":                  cancelRunning,
		"an engine takes so many builds":                   engineLimit,
		"an older build of a ref goes first":               olderFirst,
		"an automated build with fewer goes first (I13)":   fewerFirst,
		"one runner claims":                                claimOnce,
		"events count once":                                eventsOnce,
		"a token opens its attempt only while it runs":     tokens,
		"an attempt is handed to one pipeline":             handOver,
		"an offer is void after the next or the end":       handOverVoid,
		"an automated build has one pipeline token":        pipelineTokens,
		"an attempt is joined by one pipeline":             joins,
		"a further attempt is joined anew":                 joinRetried,
		"what is known of a commit":                        knownOfCommit,
		"an extension's secret stays":                      extensionSecrets,
		"what was reported is kept":                        reports,
		"an automated build is stored whole":               automatedBuildRoundTrip,
		"deleting an automated build ends its builds":      automatedBuildDeleted,
		"a rename is seen everywhere":                      rename,
		"a hook is stored whole":                           hookRoundTrip,
		"a hook's secret is replaced once":                 hookSecrets,
		"a provider's name is unique":                      providerNames,
		"tokens are refreshed once":                        tokenRefresh,
		"an account breaks with its credential":            accountBreaks,
		"an account in use is kept":                        accountInUse,
		"registry credentials and what they are bound to":  registries,
		"what is old and over is pruned":                   pruned,
		"what is under way is not pruned":                  prunedNotActive,
		"a lease is held until it ends":                    leases,
		"an attempt knows who started it":                  attemptsGateway,
		"an overview of nothing":                           overviewOfNothing,
		"an overview counts what waits and works":          overviewCounts,
		"time in the queue counts from a retry":            overviewRetried,
		"what waits behind another is not overdue":         overviewBehind,
		"an observer is told what was committed":           observed,
		"an attempt knows its push":                        attemptsKnowTheirPush,
		"states never go back":                             statesAdvance,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for name, test := range permitCases() {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for name, test := range rightsTests() {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}
