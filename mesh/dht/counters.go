package dht

// counter names something that is counted.
type counter uint8

const (
	packetsSent counter = iota
	bytesSent
	packetsReceived
	bytesReceived
	packetsRefused
	requestsLimited
	repliesUnasked
	requestsSent
	requestsResent
	requestsFailed
	requestsDropped
	lookupsDone
	lookupRequests
	lookupsSuspicious
	lookupsOneLink
	getsFound
	getsMissed
	staleAnswers
	badAnswers
	puts
	putsStored
	repairs
	handovers
	republished
	superseded
	verifications
	storesAccepted
	storesRefreshed
	storesRefused
	storesNoToken
	storesNotResponsible
	storesFull
	storesBusy
	storesBad
	equivocations
	recordsExpired
	recordsEvicted
	contactsLost
	contactsRevived
	contactsRefused
	failuresFrozen
	diversityEvictions
	strangersIgnored
	eventsDropped
	counterCount
)

var counterNames = [counterCount]string{
	packetsSent:          "dht_packets_sent",
	bytesSent:            "dht_bytes_sent",
	packetsReceived:      "dht_packets_received",
	bytesReceived:        "dht_bytes_received",
	packetsRefused:       "dht_packets_malformed",
	requestsLimited:      "dht_requests_limited",
	repliesUnasked:       "dht_replies_unasked",
	requestsSent:         "dht_requests_sent",
	requestsResent:       "dht_requests_resent",
	requestsFailed:       "dht_requests_failed",
	requestsDropped:      "dht_requests_dropped",
	lookupsDone:          "dht_lookups",
	lookupRequests:       "dht_lookup_requests",
	lookupsSuspicious:    "dht_lookups_suspicious",
	lookupsOneLink:       "dht_lookups_behind_one_link",
	getsFound:            "dht_gets_found",
	getsMissed:           "dht_gets_missed",
	staleAnswers:         "dht_answers_stale",
	badAnswers:           "dht_answers_bad",
	puts:                 "dht_puts",
	putsStored:           "dht_puts_stored",
	repairs:              "dht_repairs",
	handovers:            "dht_handovers",
	republished:          "dht_republished",
	superseded:           "dht_superseded",
	verifications:        "dht_signatures_verified",
	storesAccepted:       "dht_stores_accepted",
	storesRefreshed:      "dht_stores_refreshed",
	storesRefused:        "dht_stores_refused_older",
	storesNoToken:        "dht_stores_refused_token",
	storesNotResponsible: "dht_stores_refused_place",
	storesFull:           "dht_stores_refused_full",
	storesBusy:           "dht_stores_refused_busy",
	storesBad:            "dht_stores_refused_bad",
	equivocations:        "dht_equivocations",
	recordsExpired:       "dht_records_expired",
	recordsEvicted:       "dht_records_evicted",
	contactsLost:         "dht_contacts_lost",
	contactsRevived:      "dht_contacts_revived",
	contactsRefused:      "dht_contacts_refused",
	failuresFrozen:       "dht_failures_while_cut_off",
	diversityEvictions:   "dht_contacts_replaced_for_diversity",
	strangersIgnored:     "dht_contacts_without_route",
	eventsDropped:        "dht_events_dropped",
}

// Counters returns what was counted since New, by metric name.
func (d *DHT) Counters() map[string]uint64 {
	m := make(map[string]uint64, counterCount)
	for i, n := range d.counts {
		m[counterNames[i]] = n
	}
	return m
}
