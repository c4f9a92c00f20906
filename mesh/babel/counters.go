package babel

// counter names something that is counted.
type counter uint8

const (
	packetsSent counter = iota
	bytesSent
	packetsReceived
	bytesReceived
	packetsRefused
	neighboursRefused
	tlvsMalformed
	tlvsUnknown
	tlvsMandatory
	updatesSent
	updatesReceived
	updatesOwn
	updatesNotAccepted
	updatesTableFull
	updatesManyRouters
	updatesUnfeasible
	requestsSent
	requestsForwarded
	requestsAnswered
	requestsDuplicate
	requestsIgnored
	seqnoRaised
	seqnoRefused
	resends
	unanswered
	routeChanges
	neighboursLost
	counterCount
)

var counterNames = [counterCount]string{
	packetsSent:        "babel_packets_sent",
	bytesSent:          "babel_bytes_sent",
	packetsReceived:    "babel_packets_received",
	bytesReceived:      "babel_bytes_received",
	packetsRefused:     "babel_packets_malformed",
	neighboursRefused:  "babel_neighbours_refused",
	tlvsMalformed:      "babel_tlvs_malformed",
	tlvsUnknown:        "babel_tlvs_unknown",
	tlvsMandatory:      "babel_tlvs_unknown_mandatory",
	updatesSent:        "babel_updates_sent",
	updatesReceived:    "babel_updates_received",
	updatesOwn:         "babel_updates_refused_own",
	updatesNotAccepted: "babel_updates_refused_filter",
	updatesTableFull:   "babel_updates_refused_table_full",
	updatesManyRouters: "babel_updates_refused_many_router_ids",
	updatesUnfeasible:  "babel_updates_unfeasible",
	requestsSent:       "babel_seqno_requests_sent",
	requestsForwarded:  "babel_seqno_requests_forwarded",
	requestsAnswered:   "babel_seqno_requests_answered",
	requestsDuplicate:  "babel_seqno_requests_duplicate",
	requestsIgnored:    "babel_seqno_requests_ignored",
	seqnoRaised:        "babel_seqno_raised",
	seqnoRefused:       "babel_seqno_raise_refused",
	resends:            "babel_resends",
	unanswered:         "babel_acks_missing",
	routeChanges:       "babel_route_changes",
	neighboursLost:     "babel_neighbours_lost",
}

// Counters returns how often things happened, by name.
func (s *Speaker) Counters() map[string]uint64 {
	m := make(map[string]uint64, len(counterNames))
	for c, name := range counterNames {
		m[name] = s.counts[c]
	}
	return m
}

func (s *Speaker) count(c counter) { s.counts[c]++ }
