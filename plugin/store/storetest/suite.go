package storetest

import (
	"maps"
	"testing"

	"slipway/plugin/store"
)

// Run checks everything that the stations rely on. open returns a new, empty store.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for name, test := range map[string]func(*testing.T, *store.Store){
		"a delivery is stored whole":                                     deliveryRoundTrip,
		"a plan completes its task":                                      planCompletesTask,
		"deliveries are listed newest first":                             deliveriesList,
		"concurrent deliveries are all stored":                           deliveriesConcurrent,
		"a delivery of a sender that disconnects is not accepted":        deliveryCancelled,
		"accepted deliveries of senders that disconnect are stored":      deliveriesCancelled,
		"a queued delivery has a reason":                                 deliveryExplained,
		"a queued build has a reason":                                    buildExplained,
		"automated builds are listed by repository":                      automatedBuildsList,
		"a baseline is not a transition":                                 refBaseline,
		"A→B→A is three transitions":                                     refsBackAndForth,
		"a plan from an old head stores nothing":                         planConflict,
		"a delivery is planned once":                                     planOnce,
		"a plan numbers the builds in its outcome":                       planOutcome,
		"two tags on one commit are two builds (H5)":                     planTwoTags,
		"a manual build is made once for its key":                        createOnce,
		"the source of a pull request is stored":                         pullRequestsInternal,
		"builds are listed and paged":                                    buildsList,
		"a build succeeds":                                               buildSucceeds,
		"an error is retried up to three attempts":                       buildRetries,
		"a manual retry allows all attempts again":                       buildRetriedByPerson,
		"cancel ends a queued build":                                     cancelQueued,
		"cancel fences a running attempt":                                cancelRunning,
		"an engine has a limit of active builds":                         engineLimit,
		"an automated build leaves a place for others":                   placesPerBuild,
		"a workspace leaves a place for others":                          placesPerWorkspace,
		"no place is kept for a build that reached a limit":              cappedBuildsLeavePlaces,
		"an older build of a ref starts first":                           olderBuildFirst,
		"an automated build with fewer active builds starts first (I13)": fairShare,
		"events count once":                                              eventsOnce,
		"a token is valid while its attempt is active":                   tokens,
		"an attempt is handed to one pipeline":                           handOver,
		"an offer is invalid after the next one and after the end":       handOverInvalid,
		"an automated build has one pipeline token":                      pipelineTokens,
		"an attempt is bound to one pipeline":                            bindPipeline,
		"a new attempt can be bound to any pipeline":                     bindPipelineAgain,
		"the builds of a commit are listed":                              buildsOfCommit,
		"an extension's secret stays":                                    extensionSecrets,
		"the last report is stored":                                      reports,
		"an automated build is stored with all fields":                   automatedBuildRoundTrip,
		"deleting an automated build ends its builds":                    automatedBuildDeleted,
		"a rename changes all rows":                                      rename,
		"a hook is stored with all fields":                               hookRoundTrip,
		"a hook's secret is replaced once":                               hookSecrets,
		"a provider's name is unique":                                    providerNames,
		"tokens are refreshed once":                                      tokenRefresh,
		"an account breaks with its credential":                          accountBroken,
		"an account in use is kept":                                      accountInUse,
		"registry credentials can be bound to an automated build":        registries,
		"old final builds and deliveries are pruned":                     prune,
		"active builds are not pruned":                                   pruneKeepsActive,
		"a lease is held until it expires":                               leases,
		"an attempt has the name of its gateway":                         attemptsGateway,
		"an overview of an empty database":                               overviewEmpty,
		"an overview counts waiting and active work":                     overviewCounts,
		"time in the queue counts from a retry":                          overviewRetried,
		"a task that waits for its lane is not overdue":                  overviewBlocked,
		"an observer is called for each commit":                          observerCalls,
		"an attempt has its push":                                        attemptsHaveTheirPush,
		"states never go back":                                           statesAdvance,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for name, test := range otherCases() {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func otherCases() map[string]func(*testing.T, *store.Store) {
	cases := permitCases()
	cases["a user's lists are paged"] = viewsArePaged
	maps.Copy(cases, pollCases())
	maps.Copy(cases, rightsTests())
	maps.Copy(cases, claimCases())
	maps.Copy(cases, listCases())
	return cases
}
