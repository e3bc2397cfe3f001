package verify

import (
	"fmt"
	"strings"
)

// Failure says that evidence is not what it claims to be.
type Failure struct {
	What string // the thing that was refused
	Err  error  // why
}

func (f *Failure) Error() string {
	if why := f.Err.Error(); strings.Contains(why, f.What) {
		return why // it names the thing itself
	}
	return fmt.Sprintf("%s: %v", f.What, f.Err)
}

// Unwrap returns why.
func (f *Failure) Unwrap() error { return f.Err }

// Missing says that something needed for a check is not there.
type Missing struct {
	What string // the thing, and where it was looked for
	Hint string // how to get it
}

func (m *Missing) Error() string { return fmt.Sprintf("%s is missing; %s", m.What, m.Hint) }

func refuse(what, format string, args ...any) error {
	return &Failure{what, fmt.Errorf(format, args...)}
}
