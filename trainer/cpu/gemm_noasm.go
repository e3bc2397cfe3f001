//go:build !amd64

package cpu

// native is the fastest kernels of this machine.
var native = portable
