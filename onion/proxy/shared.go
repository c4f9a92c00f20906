package proxy

import (
	"net/http"

	"globalnet/onion/cell"
)

// What follows is for package lan, which serves connections that do not know of a proxy.

// ReasonOf tells why a Dialer or a stream gave an error.
func ReasonOf(err error) cell.EndReason { return reasonOf(err) }

// HTTPStatus is how a proxy tells of reason.
func HTTPStatus(reason cell.EndReason) int {
	if int(reason) < len(httpStatus) {
		return httpStatus[reason]
	}
	return http.StatusBadGateway
}

// HangUp says a last thing and closes conn, so that it arrives.
func HangUp(conn Socket, last []byte) { hangUp(conn, last) }
