package dht

// bounds are what a node keeps and does at most, beside the quotas of its store.
type bounds struct {
	maxBytes, maxRecords int // of the store, where the configuration says nothing

	contacts   int // with those known by their routes
	graves     int
	queued     int // requests that wait, of each priority
	floors     int // sequence numbers of what was read
	assemblies int // records on their way in
	verified   int // signatures for others, a second: one takes some 15 ms on a 580 MHz MIPS
}

// Filled to all of its bounds, a small node has 2.5 MB, one with more memory 9.5 MB.
var (
	normal = bounds{
		maxBytes: 4 << 20, maxRecords: 4096,
		contacts: 4096, graves: 256, queued: 512, floors: 1024, assemblies: 32, verified: 50,
	}
	small = bounds{
		maxBytes: 1 << 20, maxRecords: 1024,
		contacts: 1024, graves: 64, queued: 128, floors: 256, assemblies: 16, verified: 20,
	}
)

// bounds returns those of a configuration.
func (c Config) bounds() bounds {
	if c.Small {
		return small
	}
	return normal
}
