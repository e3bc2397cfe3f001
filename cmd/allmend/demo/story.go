package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// story tells people, or a program, what goes on. On a terminal the last lines
// are a screen that is drawn again and again; everywhere else there are only
// lines. As JSON each event is an object on one line, and nothing else is
// written to out. It is used by one goroutine.
type story struct {
	out, err io.Writer
	json     bool
	live     bool // out is a terminal
	width    func() int
	drawn    int // lines of the screen that stand below the text
}

// titled and said are a chapter and a line as JSON.
type titled struct {
	Title string `json:"title"`
}

type said struct {
	Text string `json:"text"`
}

// chapter begins a part of the demo.
func (s *story) chapter(title string) { s.tell("chapter", titled{title}, "\n"+title) }

// say prints a line that carries no data of its own.
func (s *story) say(format string, args ...any) {
	s.tell("line", said{fmt.Sprintf(format, args...)}, fmt.Sprintf("  "+format, args...))
}

// tell prints an event: v and its name as JSON, or text.
func (s *story) tell(event string, v any, text string) {
	if !s.json {
		s.clear()
		fmt.Fprintln(s.out, text)
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic("demo: " + err.Error()) // v is one of our own structs
	}
	name, err := json.Marshal(event)
	if err != nil {
		panic("demo: " + err.Error())
	}
	fmt.Fprintf(s.out, "{\"event\":%s,\"value\":%s}\n", name, body)
}

// show draws the screen below everything told so far. It does nothing where
// there is no terminal.
func (s *story) show(lines []string) {
	if !s.live || s.json {
		return
	}
	width := s.width()
	var b strings.Builder
	b.WriteString(s.erase())
	for _, line := range lines {
		b.WriteString(cut(line, width-1) + "\n")
	}
	io.WriteString(s.out, b.String()) // a screen that cannot be drawn is no reason to stop
	s.drawn = len(lines)
}

// clear takes the screen away.
func (s *story) clear() {
	io.WriteString(s.out, s.erase()) // as in show
}

// erase returns what takes the screen away, which then is no longer there.
func (s *story) erase() string {
	if s.drawn == 0 {
		return ""
	}
	up := fmt.Sprintf("\x1b[%dA\x1b[J", s.drawn)
	s.drawn = 0
	return up
}

// cut shortens a line to at most width runes.
func cut(line string, width int) string {
	runes := []rune(line)
	if width < 1 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}
