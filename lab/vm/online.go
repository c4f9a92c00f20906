package vm

import (
	"bytes"
	"io"
)

// onLine does something once, in a goroutine of its own, when a line is printed.
type onLine struct {
	line string
	next io.Writer // may be nil
	do   func()

	part []byte
	done bool
}

// Write implements io.Writer.
func (o *onLine) Write(p []byte) (int, error) {
	if o.next != nil {
		_, _ = o.next.Write(p)
	}
	o.part = append(o.part, p...)
	for {
		line, rest, whole := bytes.Cut(o.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		o.part = rest
		if string(line) == o.line && !o.done {
			o.done = true
			go o.do()
		}
	}
}
