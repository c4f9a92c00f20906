// Package mesh is the underlay: it finds neighbours on every segment (beacon),
// makes an encrypted link to each (link), learns routes over the links (babel)
// and keeps the kernel in step (Kernel).
//
// Node.Run is the one event loop; it owns all state of the package. The cores it
// drives do no I/O.
package mesh
