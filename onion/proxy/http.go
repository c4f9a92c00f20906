package proxy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"globalnet/onion/cell"
)

// maxFields bounds the header fields of a request.
const maxFields = 100

// httpStatus is indexed by cell.EndReason.
var httpStatus = [...]int{
	cell.EndDone:        http.StatusBadGateway,
	cell.EndMisc:        http.StatusBadGateway,
	cell.EndPolicy:      http.StatusForbidden,
	cell.EndResolve:     http.StatusBadGateway,
	cell.EndRefused:     http.StatusBadGateway,
	cell.EndUnreachable: http.StatusBadGateway,
	cell.EndTimeout:     http.StatusGatewayTimeout,
	cell.EndReset:       http.StatusBadGateway,
	cell.EndResource:    http.StatusServiceUnavailable,
	cell.EndProtocol:    http.StatusBadGateway,
	cell.EndCircuit:     http.StatusBadGateway,
	cell.EndNeedsKey:    http.StatusForbidden,
	cell.EndWrongKey:    http.StatusForbidden,
}

// httpTunnel makes the answers to CONNECT.
type httpTunnel struct{}

func (httpTunnel) accept() []byte { return []byte("HTTP/1.1 200 Connection established\r\n\r\n") }

func (httpTunnel) refuse(reason cell.EndReason) []byte {
	status := http.StatusBadGateway
	if int(reason) < len(httpStatus) {
		status = httpStatus[reason]
	}
	return httpReply(status, "The proxy could not connect: "+reason.String()+".")
}

// httpFetch makes the answers to plain HTTP requests: none but errors.
type httpFetch struct{ httpTunnel }

func (httpFetch) accept() []byte { return nil }

func httpReply(status int, text string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, http.StatusText(status), len(text)+1, text)
}

// fetch is a plain HTTP request, as it goes to the server.
type fetch struct {
	head []byte
	body uint64 // how many bytes follow; no more may pass, they could be meant for another server
}

func (r *reader) http() (*request, error) {
	req := new(request)
	err := r.parse(func(b []byte) (n int, err error) {
		n, err = req.parseHTTP(b)
		return n, err
	})
	switch no := (*httpError)(nil); {
	case errors.As(err, &no) && no.status == 0:
		return nil, &refusal{httpReply(http.StatusBadRequest, r.advice()), "not a request to a proxy"}
	case no != nil:
		return nil, &refusal{httpReply(no.status, no.why), no.why}
	case err == errLong:
		return nil, &refusal{httpReply(http.StatusRequestHeaderFieldsTooLarge, "The request is too long."), err.Error()}
	case err != nil:
		return nil, err
	}
	return req, nil
}

// advice is what somebody reads who took the proxy for a web site.
func (r *reader) advice() string {
	at := r.conn.LocalAddr().String()
	return "This is a proxy into GlobalNet, not a web site. Set it in your program as SOCKS5 proxy with names resolved there" +
		" (socks5h://" + at + ") or as HTTP proxy (http://" + at + ")."
}

// httpError is a bad request; without a status it was not meant for a proxy.
type httpError struct {
	status int
	why    string
}

func (e *httpError) Error() string { return e.why }

func badHTTP(why string) error { return &httpError{http.StatusBadRequest, why} }

// parseHTTP reads a request up to its body.
func (r *request) parseHTTP(b []byte) (n int, err error) {
	h, n, err := parseHead(b)
	if err != nil {
		return 0, err
	}
	r.command = connect
	r.credentials = h.credentials()
	if h.method == "CONNECT" {
		r.protocol = httpTunnel{}
		r.target, err = parseAuthority(h.target, "")
		return n, err
	}
	const scheme = "http://"
	if len(h.target) < len(scheme) || !strings.EqualFold(h.target[:len(scheme)], scheme) {
		return 0, &httpError{0, "not a request to a proxy"}
	}
	authority, path := h.target[len(scheme):], ""
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority, path = authority[:i], authority[i:]
	}
	r.protocol = httpFetch{}
	if r.target, err = parseAuthority(authority, "80"); err != nil {
		return 0, err
	}
	r.fetch, err = h.fetch(authority, path)
	return n, err
}

// parseAuthority reads host:port. Where there is no port it is the default, if that is not "".
func parseAuthority(s, port string) (cell.Target, error) {
	host := s
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return cell.Target{}, badHTTP("The request names no valid port.")
	}
	t, err := namedTarget(host, uint16(number))
	if err != nil {
		return t, badHTTP("The request names no valid host.")
	}
	return t, nil
}

// head is a request without its body, RFC 9112 sections 3 and 5.
type head struct {
	method, target, version string
	fields                  []field
}

type field struct{ name, value string }

func parseHead(b []byte) (h head, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if bytes.Contains(b, []byte("\n\n")) {
			return h, 0, badHTTP("Lines must end with CR and LF.")
		}
		return h, 0, errShort
	}
	line, rest, more := strings.Cut(string(b[:end]), "\r\n")
	if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
		return h, 0, badHTTP("The request line has characters that it must not have.")
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || !isToken(words[0]) || words[1] == "" || words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0" {
		return h, 0, badHTTP("The request line is not of HTTP/1.")
	}
	h.method, h.target, h.version = words[0], words[1], words[2]
	for more {
		line, rest, more = strings.Cut(rest, "\r\n")
		name, value, colon := strings.Cut(line, ":")
		bad := func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }
		if !colon || !isToken(name) || strings.ContainsFunc(value, bad) {
			return h, 0, badHTTP("The request has a bad header field.")
		}
		if len(h.fields) == maxFields {
			return h, 0, &httpError{http.StatusRequestHeaderFieldsTooLarge, "The request has too many header fields."}
		}
		h.fields = append(h.fields, field{name, strings.Trim(value, " \t")})
	}
	return h, end + 4, nil
}

// isToken reports whether s is a token, RFC 9110 section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	})
}

// credentials are those of the basic scheme, RFC 7617.
func (h *head) credentials() [32]byte {
	for _, f := range h.fields {
		scheme, value, _ := strings.Cut(f.value, " ")
		if strings.EqualFold(f.name, "Proxy-Authorization") && strings.EqualFold(scheme, "Basic") {
			pair, _ := base64.StdEncoding.DecodeString(strings.TrimLeft(value, " "))
			user, password, _ := strings.Cut(string(pair), ":")
			return hashCredentials(user, password)
		}
	}
	return [32]byte{}
}

// hopByHop are the fields that are not for the server, RFC 9110 section 7.6.1.
var hopByHop = []string{"connection", "proxy-connection", "proxy-authorization", "proxy-authenticate", "keep-alive", "te", "trailer", "upgrade"}

// fetch rewrites the head for the server. One connection carries one request. The
// order and spelling of the fields stay as they are.
func (h *head) fetch(authority, path string) (*fetch, error) {
	drop := make(map[string]bool)
	for _, name := range hopByHop {
		drop[name] = true
	}
	f, sized, hosts := new(fetch), false, 0
	for _, x := range h.fields {
		switch strings.ToLower(x.name) {
		case "connection":
			for name := range strings.SplitSeq(x.value, ",") {
				drop[strings.ToLower(strings.Trim(name, " \t"))] = true
			}
		case "host":
			hosts++
		case "transfer-encoding":
			return nil, &httpError{http.StatusLengthRequired, "The proxy takes no body of unknown length; use CONNECT."}
		case "content-length":
			n, err := strconv.ParseUint(x.value, 10, 63)
			if err != nil || sized {
				return nil, badHTTP("The request has a bad Content-Length.")
			}
			f.body, sized = n, true
		}
	}
	if hosts > 1 || strings.Contains(path, "#") {
		return nil, badHTTP("The request is not clear about its target.")
	}
	delete(drop, "host")
	delete(drop, "content-length")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	b := append([]byte(nil), h.method+" "+path+" "+h.version+"\r\n"...)
	if hosts == 0 {
		b = append(b, "Host: "+authority+"\r\n"...)
	}
	for _, x := range h.fields {
		name := strings.ToLower(x.name)
		switch {
		case drop[name]:
			continue
		case name == "host":
			x.value = authority // RFC 9112 section 3.2.2
		}
		b = append(b, x.name+": "+x.value+"\r\n"...)
	}
	f.head = append(b, "Connection: close\r\n\r\n"...)
	return f, nil
}
