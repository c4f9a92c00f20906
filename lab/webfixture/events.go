package webfixture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// moment is what a stream lasts as long as.
type moment struct{ login, gone bool }

func (s *Server) now() moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return moment{s.Session.Login, s.Gone}
}

// events sends what is asked for, when it changes and every few seconds, until the session
// begins or ends.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	const every, refresh = 300 * time.Millisecond, 5 * time.Second
	w.Header().Set("Content-Type", "text/event-stream")
	var sent time.Time
	last := map[string]string{}
	for begun := s.now(); s.now() == begun; {
		if time.Since(sent) > refresh {
			clear(last)
			sent = time.Now()
		}
		for name := range strings.SplitSeq(r.FormValue("of"), ",") {
			got := httptest.NewRecorder()
			s.mux.ServeHTTP(got, httptest.NewRequest("GET", "/v1/"+name, nil))
			var line bytes.Buffer
			if json.Compact(&line, got.Body.Bytes()) != nil {
				return
			}
			text := line.String()
			if got.Code != http.StatusOK {
				text = fmt.Sprintf(`{"refused":%d,%s`, got.Code, text[1:])
			}
			if last[name] != text {
				last[name] = text
				fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, text)
			}
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(every):
		}
	}
}
