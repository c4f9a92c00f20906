package main

import (
	"fmt"
	"io"
	"time"
)

// waiting tells on a terminal that a command still works, from its second second on, until
// stop is called.
func waiting(w io.Writer, what string) (stop func()) {
	if !isTerminal(w) {
		return func() {}
	}
	return countSeconds(w, what)
}

// countSeconds writes a line anew each second, and takes it away in the end.
func countSeconds(w io.Writer, what string) (stop func()) {
	begun, end, ended := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		said := false
		for {
			select {
			case <-end:
				if said {
					io.WriteString(w, "\r\x1b[K") // the line is empty again
				}
				return
			case now := <-ticker.C:
				said = true
				fmt.Fprintf(w, "\r%s: %d s", what, now.Sub(begun)/time.Second)
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// answerWriter ends the waiting before the answer is printed.
type answerWriter struct {
	io.Writer
	stop func()
}

func (a *answerWriter) Write(b []byte) (int, error) {
	a.stop()
	return a.Writer.Write(b)
}
