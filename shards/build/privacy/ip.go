package privacy

import (
	"net/netip"
	"strings"
)

const (
	maxIPv6 = 45   // characters of the longest IPv6 address, with an IPv4 tail
	maxZone = 15   // characters of an interface name
	maxRun  = 1024 // bytes looked at together, so that a hostile text costs no quadratic time
)

// nextIP finds an IPv4 address of four octets that is no part of a longer dotted number, or an IPv6 address.
func nextIP(s string, from int) (span, bool) {
	for i := from; i < len(s); {
		if !isHexDigit(s[i]) && s[i] != ':' {
			i++
			continue
		}
		end := i
		colons := 0
		for end < min(len(s), i+maxRun) && (isHexDigit(s[end]) || s[end] == ':' || s[end] == '.') {
			if s[end] == ':' {
				colons++
			}
			end++
		}
		if colons >= 2 {
			if hit, ok := ipv6In(s, i, end); ok {
				return hit, true
			}
		}
		if hit, ok := ipv4In(s, i, end); ok {
			return hit, true
		}
		i = end
	}
	return span{}, false
}

// ipv6In looks for an IPv6 address in the run s[start:end] of hexadecimal digits, colons and dots.
func ipv6In(s string, start, end int) (span, bool) {
	if alnumBefore(s, start) { // "IPv6:2001:db8::1": what the letter belongs to ends at the first colon
		start += strings.IndexByte(s[start:end], ':') + 1
	}
	if s[start] == ':' && (start+1 >= end || s[start+1] != ':') {
		start++
	}
	for bounded := !alnumAfter(s, end); end-start >= 3; bounded = true {
		run := s[start:end]
		if bounded && len(run) <= maxIPv6 && strings.Count(run, ":") >= 2 && run != "::" {
			if _, err := netip.ParseAddr(run); err == nil {
				return span{start, zoneEnd(s, end)}, true
			}
		}
		if c := run[len(run)-1]; c == '.' || c == ':' { // the sentence's own
			end--
			continue
		}
		dot := strings.LastIndexByte(run, '.')
		if dot < 0 {
			break
		}
		end = start + dot
	}
	return span{}, false
}

// zoneEnd includes "%eth0".
func zoneEnd(s string, end int) int {
	if end < len(s) && s[end] == '%' {
		zone := end + 1
		for zone < len(s) && zone-end <= maxZone && isAlnum(s[zone]) {
			zone++
		}
		if zone > end+1 {
			return zone
		}
	}
	return end
}

// ipv4In looks for an IPv4 address in s[start:end]. Letters may touch it, digits may not.
func ipv4In(s string, start, end int) (span, bool) {
	for i := start; i < end; {
		if !isDigit(s[i]) {
			i++
			continue
		}
		stop := i
		for stop < end && (isDigit(s[stop]) || s[stop] == '.') {
			stop++
		}
		number := strings.TrimRight(s[i:stop], ".")
		if isQuad(number) {
			return span{i, i + len(number)}, true
		}
		i = stop
	}
	return span{}, false
}

// isQuad says whether s is four numbers of at most 255 with dots between. Leading zeros count, unlike in netip.
func isQuad(s string) bool {
	octets := 0
	for {
		n, i := 0, 0
		for ; i < len(s) && i < 3 && isDigit(s[i]); i++ {
			n = 10*n + int(s[i]-'0')
		}
		octets++
		if i == 0 || n > 255 || octets > 4 {
			return false
		}
		if i == len(s) {
			return octets == 4
		}
		if s[i] != '.' {
			return false
		}
		s = s[i+1:]
	}
}

func isHexDigit(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
