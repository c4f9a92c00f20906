package agent

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// kept is a record of ours as records.state has it. The empty name is the node
// record's, of which only the sequence number is kept.
type kept struct {
	name      string
	seq       uint64
	withdrawn bool
	value     []byte
}

// The state file is a line of text a record, each with a checksum of its own: a torn
// or damaged file loses only the lines it tore.
//
//	globalnet records 1 COUNT
//	CHECKSUM put|gone SEQUENCE NAME VALUE     (name and value in base64)
const (
	recordsHeader   = "globalnet records 1 "
	maxRecordsFile  = 256 << 10
	maxRecordsLines = 2 * maxPublished
)

var base64Form = base64.RawStdEncoding.Strict()

func appendRecords(dst []byte, list []kept) []byte {
	dst = fmt.Appendf(dst, "%s%d\n", recordsHeader, len(list))
	for _, k := range list {
		state := "put"
		if k.withdrawn {
			state = "gone"
		}
		line := fmt.Sprintf("%s %d %s %s", state, k.seq, base64Form.EncodeToString([]byte(k.name)), base64Form.EncodeToString(k.value))
		dst = fmt.Appendf(dst, "%s %s\n", lineSum(line), line)
	}
	return dst
}

func lineSum(line string) string {
	sum := sha256.Sum256([]byte(line))
	return hex.EncodeToString(sum[:8])
}

// parseRecords returns the records that are whole, the first of each name, and how
// many lines are damaged or missing.
func parseRecords(text []byte) (list []kept, damaged int) {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	count, err := strconv.Atoi(strings.TrimPrefix(lines[0], recordsHeader))
	if !strings.HasPrefix(lines[0], recordsHeader) || err != nil || count < 0 || count > maxRecordsLines {
		damaged++
		count = 0
	}
	seen := make(map[string]bool)
	for _, line := range lines[1:] {
		k, ok := parseRecordLine(line)
		if !ok || seen[k.name] || len(list) == maxRecordsLines {
			continue
		}
		seen[k.name] = true
		list = append(list, k)
	}
	return list, damaged + max(0, len(lines)-1-len(list), count-len(list))
}

func parseRecordLine(line string) (k kept, ok bool) {
	sum, line, _ := strings.Cut(line, " ")
	fields := strings.Split(line, " ")
	if sum != lineSum(line) || len(fields) != 4 {
		return k, false
	}
	seq, err1 := strconv.ParseUint(fields[1], 10, 64)
	name, err2 := base64Form.DecodeString(fields[2])
	value, err3 := base64Form.DecodeString(fields[3])
	k = kept{name: string(name), seq: seq, withdrawn: fields[0] == "gone", value: value}
	return k, errors.Join(err1, err2, err3) == nil && (k.withdrawn || fields[0] == "put") &&
		len(name) <= maxName && len(value) <= maxValue && (len(value) == 0 || !k.withdrawn && k.name != "")
}

// loadRecords reads the state file; where there is none, there are no records.
func loadRecords(path string) (list []kept, damaged int, text []byte, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil, nil
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("reading the records of the last run: %w", err)
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, maxRecordsFile))
	if err != nil {
		return nil, 0, nil, fmt.Errorf("reading the records of the last run: %w", err)
	}
	list, damaged = parseRecords(text)
	return list, damaged, text, nil
}
