package demo

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// weigh notes the memory that all processes together have needed at most: the
// sum of the peaks, resident, of those alive now and of the supervisor.
func (s *supervisor) weigh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := peakOf(os.Getpid())
	for _, p := range s.all {
		if p.alive() {
			sum += peakOf(p.cmd.Process.Pid)
		}
	}
	s.peak = max(s.peak, sum)
}

// peakOf returns the peak resident size of a process in bytes as Linux tells
// it; 0 where that cannot be known.
func peakOf(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
