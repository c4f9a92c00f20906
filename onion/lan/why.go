package lan

import (
	"bytes"
	"fmt"
	"net/http"

	"globalnet/onion/cell"
	"globalnet/onion/proxy"
)

// isHTTP reports whether b begins like an HTTP/1 request.
func isHTTP(b []byte) bool {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	if !ok || len(rest) == 0 {
		return false
	}
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH":
		return true
	}
	return false
}

// whyPage is the answer to a request whose target cannot be reached. It repeats nothing
// of the request.
func whyPage(reason cell.EndReason, inside bool) []byte {
	status := proxy.HTTPStatus(reason)
	text := "It could not be reached (" + reason.String() + ")."
	switch {
	case reason == cell.EndResolve && inside:
		status, text = http.StatusNotFound, "There is no such service, or nobody has heard of it for an hour. Check the address."
	case reason == cell.EndResolve:
		text = "This name is not known on the internet."
	case reason == cell.EndNeedsKey:
		text = "The service lets in only whom its owner knows, and this router has no key for it."
	case reason == cell.EndWrongKey:
		text = "The service lets in only whom its owner knows, and does not take this router's key. Ask the owner to add it."
	case reason == cell.EndPolicy && inside:
		text = "The service does not take connections on this port."
	case reason == cell.EndPolicy:
		text = "No exit of the network leads there: exits choose the ports and addresses that they serve."
	case reason == cell.EndRefused && inside, reason == cell.EndUnreachable && inside:
		status, text = http.StatusServiceUnavailable, "The service is known, but does not answer now."
	case reason == cell.EndCircuit:
		status, text = http.StatusServiceUnavailable, "This router finds no way through the network now. It tries again with each request."
	case reason == cell.EndTimeout:
		text = "No answer came in time. The way through the network may be slow: try again."
	}
	body := fmt.Sprintf("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"+
		"<title>Not reachable</title><style>body{font:1.1em sans-serif;max-width:32em;margin:4em auto;padding:0 1em}</style>"+
		"<h1>Not reachable</h1><p>%s<p><small>This page is from your router's GlobalNet, not from the site.</small>\n", text)
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}
