package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// maxEvent bounds one event: a status with the routes of a large mesh.
const maxEvent = 8 << 20

// ErrEnded says that the agent has ended a request that lasts.
var ErrEnded = errors.New("the agent has ended the events")

// Watch tells of each change until ctx ends, and returns nil then: the name of a resource
// and, as JSON, what it answers now. Data is not to be kept.
func (c *Client) Watch(ctx context.Context, tell func(event string, data []byte)) error {
	answer, done, err := c.last(ctx, http.MethodGet, eventsPath, nil)
	if answer == nil {
		return err
	}
	defer done()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, maxEvent)
	event := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			event = value
		case "data":
			tell(event, []byte(value))
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the agent's events: %w", err)
	}
	return ErrEnded
}
