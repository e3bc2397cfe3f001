package robots

import "strings"

// pattern is a rule's path: '*' stands for any bytes, '$' at the end for the end of the path.
type pattern string

// matches says whether the pattern matches from the start of path. It takes time proportional to
// len(pattern) · len(path) at worst: after a star the earliest fit is right, since a later one leaves less.
func (p pattern) matches(path string) bool {
	text, anchored := strings.CutSuffix(string(p), "$")
	parts := strings.Split(text, "*")
	if !strings.HasPrefix(path, parts[0]) {
		return false
	}
	path = path[len(parts[0]):]
	if len(parts) == 1 {
		return !anchored || path == ""
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(path, part)
		if i < 0 {
			return false
		}
		path = path[i+len(part):]
	}
	if anchored {
		return strings.HasSuffix(path, parts[last])
	}
	return strings.Contains(path, parts[last])
}

// target is the part of a URL that rules are compared with, in the spelling of each parser.
type target struct {
	escaped string // Google: path, parameters and query, bytes outside ASCII percent-encoded
	quoted  string // Protego: the path unquoted and quoted again
}

func newTarget(rawURL string) target {
	path := pathOf(rawURL)
	return target{escaped: string(escape(path)), quoted: quotePath(path)}
}

// pathOf is what follows scheme and host, without fragment; "/" at least.
func pathOf(rawURL string) string {
	if i := strings.Index(rawURL, "#"); i >= 0 {
		rawURL = rawURL[:i]
	}
	start := 0
	if strings.HasPrefix(rawURL, "//") {
		start = 2
	}
	early := strings.IndexAny(rawURL[start:], "/?;")
	if scheme := strings.Index(rawURL[start:], "://"); scheme >= 0 && (early < 0 || early > scheme) {
		start += scheme + 3
	}
	slash := strings.IndexAny(rawURL[start:], "/?;")
	if slash < 0 {
		return "/"
	}
	path := rawURL[start+slash:]
	if path[0] != '/' {
		path = "/" + path
	}
	return path
}

const upperHex = "0123456789ABCDEF"

// escape writes %xx in capitals and percent-encodes bytes outside ASCII.
func escape(s string) pattern {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0x80:
			out.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out.WriteString("%" + strings.ToUpper(s[i+1:i+3]))
			i += 2
		default:
			out.WriteByte(c)
		}
	}
	return pattern(out.String())
}

// quotePath is Protego's spelling of a URL: %xx undone except %2F and %25, then everything but letters, digits and
// _.-~/% encoded; parameters and query stay as they are.
func quotePath(path string) string {
	head, tail := cutParameters(path)
	if tail == "?" { // an empty query is dropped
		tail = ""
	}
	return quote(head, "/%", "/%") + tail
}

// quotePattern is the same for a rule, where stars, dollars and equals signs stay.
func quotePattern(text string) pattern {
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") {
		text = "/" + text
	}
	last := ""
	if strings.ContainsAny(text[len(text)-1:], "?;$") {
		text, last = text[:len(text)-1], text[len(text)-1:]
	}
	if i := strings.IndexByte(text, '#'); i >= 0 {
		text = text[:i]
	}
	head, tail := cutParameters(text)
	return pattern(quote(head, "/*$%", "/*%=") + last + tail)
}

// cutParameters splits at the query, or at the parameters of the last path segment.
func cutParameters(path string) (head, tail string) {
	query := strings.IndexByte(path, '?')
	if query < 0 {
		query = len(path)
	}
	segment := strings.LastIndexByte(path[:query], '/') + 1
	if semicolon := strings.IndexByte(path[segment:query], ';'); semicolon >= 0 {
		return path[:segment+semicolon], path[segment+semicolon:]
	}
	return path[:query], path[query:]
}

// quote undoes %xx unless it stands for a byte of keep, then percent-encodes what is not unreserved and not in safe.
// Both at once: an undone byte that must be encoded gives back its %XX, in capitals.
func quote(s, keep, safe string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
			if strings.IndexByte(keep, c) >= 0 {
				out.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
				continue
			}
		}
		if isUnreserved(c) || strings.IndexByte(safe, c) >= 0 {
			out.WriteByte(c)
		} else {
			out.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return out.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
