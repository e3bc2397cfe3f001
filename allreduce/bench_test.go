package allreduce

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/allmend-network/allmend/allreduce/codec"
)

// loopback returns both ends of a TCP connection.
func loopback(b *testing.B) (dialled, accepted net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if dialled, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	return dialled, accepted
}

// BenchmarkRing reduces 64 MiB vectors with all members in one process. Bus
// bandwidth is 2(n-1)/n · bytes / time, per member. The ratio compares it with
// the same bytes moved through the same connections with nothing else to do.
func BenchmarkRing(b *testing.B) {
	const length = 16 << 20
	for _, n := range []int{2, 3} {
		for name, pair := range map[string]func(*testing.B) (net.Conn, net.Conn){
			"pipe": func(*testing.B) (net.Conn, net.Conn) { return net.Pipe() },
			"tcp":  loopback,
		} {
			b.Run(fmt.Sprintf("%s/n=%d", name, n), func(b *testing.B) {
				srcs, dsts := make([][]float32, n), make([][]float32, n)
				for i := range n {
					srcs[i], dsts[i] = make([]float32, length), make([]float32, length)
				}
				moved := float64(4*length) * 2 * float64(n-1) / float64(n)
				var ring, raw time.Duration
				for b.Loop() {
					raw += timed(b, n, pair, func(_ int, in, out net.Conn) error { return rawCopy(in, out, int(moved)) })
					ring += timed(b, n, pair, func(i int, in, out net.Conn) error {
						cfg := Config{Rank: i, N: n, Prev: NewLink(in), Next: NewLink(out), Codec: codec.F32{}}
						return Reduce(b.Context(), cfg, dsts[i], srcs[i])
					})
				}
				b.ReportMetric(moved*float64(b.N)/ring.Seconds()/1e9, "bus-GB/s")
				b.ReportMetric(raw.Seconds()/ring.Seconds(), "of-raw-copy")
			})
		}
	}
}

// timed runs one function per member on fresh connections around a circle.
func timed(b *testing.B, n int, pair func(*testing.B) (net.Conn, net.Conn), member func(i int, in, out net.Conn) error) time.Duration {
	ins, outs, errs := make([]net.Conn, n), make([]net.Conn, n), make([]error, n)
	for i := range n {
		outs[i], ins[(i+1)%n] = pair(b)
	}
	start := time.Now()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = member(i, ins[i], outs[i]) })
	}
	group.Wait()
	spent := time.Since(start)
	for i := range n {
		ins[i].Close()
		outs[i].Close()
	}
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return spent
}

// rawCopy writes bytes to out and reads as many from in, 1 MiB at a time.
func rawCopy(in, out net.Conn, bytes int) error {
	wrote := make(chan error, 1)
	go func() {
		buf := make([]byte, 1<<20)
		for left := bytes; left > 0; left -= len(buf) {
			if _, err := out.Write(buf[:min(left, len(buf))]); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	buf := make([]byte, 1<<20)
	for left := bytes; left > 0; left -= len(buf) {
		if _, err := io.ReadFull(in, buf[:min(left, len(buf))]); err != nil {
			return err
		}
	}
	return <-wrote
}
