package topology

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"globalnet/lab/medium"
)

// link is what may stand behind the nodes of a radio statement.
type link struct {
	medium.Quality
	channel int
	oneWay  bool
}

func quality(words []string) (rest []string, q link, err error) {
	q.channel = DefaultChannel
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		switch {
		case w == "one-way":
			q.oneWay = true
		case !ok:
			rest = append(rest, w)
		case name == "channel":
			q.channel, err = strconv.Atoi(value)
			if err != nil || q.channel < 1 || q.channel > 999 {
				return nil, q, fmt.Errorf("a channel is a number from 1 to 999, not %q", value)
			}
		default:
			if err := SetQuality(&q.Quality, name, value); err != nil {
				return nil, q, err
			}
		}
	}
	return rest, q, nil
}

// SetQuality changes one property: loss, delay, jitter or rate.
func SetQuality(q *medium.Quality, name, value string) (err error) {
	switch name {
	case "loss":
		q.Loss, err = parseLoss(value)
	case "delay":
		q.Delay, err = duration(value)
	case "jitter":
		q.Jitter, err = duration(value)
	case "rate":
		q.Rate, err = parseRate(value)
	default:
		err = fmt.Errorf("unknown property %q; there are loss, delay, jitter, rate", name)
	}
	return err
}

func parseLoss(s string) (float64, error) {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("loss is 0%% to 100%%, not %q", s)
	}
	return v, nil
}

func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > time.Minute {
		return 0, fmt.Errorf("%q is no time from 0s to 1m, such as 5ms", s)
	}
	return d, nil
}

func parseRate(s string) (int64, error) {
	factor := 1.0
	digits := s
	for unit, f := range map[string]float64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		if d, ok := strings.CutSuffix(s, unit); ok {
			digits, factor = d, f
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	v *= factor
	if err != nil || !(v == 0 || v >= 1000 && v <= 1e12) {
		return 0, fmt.Errorf("%q is no rate from 1kbit, such as 6mbit or 500kbit", s)
	}
	return int64(v), nil
}
