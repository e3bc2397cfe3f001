// Package node is the place that joins everything: the libp2p host, the
// protocols between peers, and the life of both roles, member and coordinator.
package node
