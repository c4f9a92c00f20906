package link

import "testing"

// BenchmarkSession is a whole session over loopback, both ends of it.
func BenchmarkSession(b *testing.B) {
	server, client := newTestNode(b, 5, nil), newTestNode(b, 1, nil)
	server.serve(b, "127.0.0.1:0")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Dial(b.Context(), server.target()); err != nil {
			b.Fatal(err)
		}
		<-client.onSwitch
		<-server.onSwitch
		waitIdle(b, server)
	}
}
