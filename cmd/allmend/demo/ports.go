package demo

import (
	"errors"
	"fmt"
	"net"
)

// freePorts returns n different loopback ports that nobody listened on a moment
// ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	var failed error
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			failed = fmt.Errorf("no free port on 127.0.0.1: %w", err)
			break
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	// All at once, so that no port is drawn twice.
	for _, l := range held {
		failed = errors.Join(failed, l.Close())
	}
	return ports, failed
}
