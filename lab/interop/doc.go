// Package interop tests our protocols against programs of others, in namespaces:
// avahi and tshark for the beacon, babeld and tshark for the routes. Tests skip
// where a program is missing, unless the environment says LAB=required.
package interop
