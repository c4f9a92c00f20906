// Package assert stands in for github.com/stretchr/testify/assert, which tests of
// modules that the agent needs import. They are not run here.
package assert
