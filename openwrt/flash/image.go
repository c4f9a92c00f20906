package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"globalnet/openwrt/guard"
)

const maxImage = 512 << 20

// Metadata is what OpenWrt's build writes at the end of a sysupgrade image.
type Metadata struct {
	Devices []string `json:"supported_devices"`
	Version struct {
		Distribution string `json:"dist"`
		Version      string `json:"version"`
		Revision     string `json:"revision"`
		Target       string `json:"target"`
	} `json:"version"`
}

// ImageMetadata reads it. Trailers stand one before the other, the last first:
// magic, checksum, type, three bytes, the length with the trailer itself.
func ImageMetadata(image []byte) (*Metadata, error) {
	const trailer = 16
	for rest := image; len(rest) >= trailer; {
		t := rest[len(rest)-trailer:]
		size := int(binary.BigEndian.Uint32(t[12:]))
		if string(t[:4]) != "FWx0" || size < trailer || size > len(rest) {
			break
		}
		part := rest[len(rest)-size : len(rest)-trailer]
		rest = rest[:len(rest)-size]
		if t[8] != 1 { // a signature
			continue
		}
		at := bytes.IndexByte(part, '{')
		if at < 0 || len(part) > 64<<10 {
			break
		}
		m := new(Metadata)
		if err := json.NewDecoder(bytes.NewReader(part[at:])).Decode(m); err != nil {
			return nil, fmt.Errorf("reading the metadata of the image: %w", err)
		}
		return m, nil
	}
	return nil, errors.New("the image does not say for which board it is: no metadata at its end")
}

func (s *session) planImage() error {
	info, err := os.Stat(s.o.Image)
	if err == nil && info.Size() > maxImage {
		err = fmt.Errorf("%d bytes, at most %d", info.Size(), maxImage)
	}
	var image []byte
	if err == nil {
		image, err = os.ReadFile(s.o.Image)
	}
	if err != nil {
		return refuse("reading the image: "+err.Error(), "Name a sysupgrade image.")
	}
	if s.report.Signed, err = s.o.check(s.o.Image, "", image); err != nil {
		return refuse(err.Error(), "Download or build it again.")
	}
	m, err := ImageMetadata(image)
	if err != nil {
		return refuse(err.Error(), "Use a *-sysupgrade.* file of OpenWrt's for this board, not a factory image.")
	}
	if s.facts.Board == "" || !slices.Contains(m.Devices, s.facts.Board) {
		return refuse(fmt.Sprintf("the image is for %s, the router is %s", strings.Join(m.Devices, ", "), s.facts.Board), "Another board's image makes a router unusable. Find the one for "+s.facts.Board+".")
	}
	kibs := int64(len(image)) / 1024
	if need := kibs + 1024; s.facts.TempK < need {
		return refuse(fmt.Sprintf("not enough room in /tmp: %s needed, %s free", kib(need), kib(s.facts.TempK)), "Restart the router and try again at once.")
	}
	if need := kibs + 8<<10; s.facts.FreeK < need {
		return refuse(fmt.Sprintf("not enough memory: %s needed, %s free", kib(need), kib(s.facts.FreeK)), "Restart the router, or stop services on it, and try again.")
	}
	s.report.What, s.report.Package, s.report.Version = "written", s.o.Image, m.Version.Version
	s.planned("write the image %s %s (%s); settings stay", m.Version.Distribution, m.Version.Version, kib(kibs))
	s.planned("it is tested on the router first; once writing has begun nothing can be undone")
	return nil
}

func (s *session) sendImage(ctx context.Context) error {
	image, err := os.ReadFile(s.o.Image)
	if err != nil {
		return err
	}
	return s.upload(ctx, "image.bin", image)
}

// testImage asks sysupgrade itself. It is never forced.
func (s *session) testImage(ctx context.Context) error {
	if _, err := s.conn.run(ctx, "sysupgrade -T "+guard.Stage+"/image.bin </dev/null", nil); err != nil {
		return &Failure{Kind: Undone, Err: fmt.Errorf("sysupgrade refuses the image: %w", err), Advice: "Find the image for " + s.facts.Board + " of this or a later release; read its notes where settings cannot be kept."}
	}
	image, err := os.ReadFile(s.o.Image)
	if err != nil {
		return err
	}
	out, err := s.conn.run(ctx, "sha256sum <"+guard.Stage+"/image.bin; cat /proc/sys/kernel/random/boot_id", nil)
	if err != nil {
		return err
	}
	words := strings.Fields(out + " - - -")
	if words[0] != fmt.Sprintf("%x", sha256.Sum256(image)) {
		return errors.New("the image changed in the router's memory, which may be broken")
	}
	s.bootID = words[2]
	return nil
}

// writeImage starts sysupgrade, which ends the connection.
func (s *session) writeImage(ctx context.Context) error {
	s.note("writing: do not take the power away")
	s.gone = true
	_, err := s.conn.run(ctx, "sysupgrade "+guard.Stage+"/image.bin </dev/null", nil)
	if _, isExit := errors.AsType[*exitError](err); isExit {
		s.gone = false
		return &Failure{Kind: Undone, Err: fmt.Errorf("sysupgrade did not begin: %w", err)}
	}
	return nil
}

// verifyImage waits until the router has started anew.
func (s *session) verifyImage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.times.reboot)
	defer cancel()
	why := errors.New("it does not answer")
	for {
		dialCtx, stop := context.WithTimeout(ctx, dialTimeout)
		err := s.fresh(dialCtx)
		var id string
		if err == nil {
			id, err = s.conn.run(dialCtx, "cat /proc/sys/kernel/random/boot_id", nil)
		}
		stop()
		if err == nil && id == s.bootID {
			err = errors.New("it has not restarted")
		}
		if err == nil {
			return s.look(ctx)
		}
		if ctx.Err() == nil {
			why = err
		}
		if sleep(ctx, 2*s.o.times.poll) != nil {
			return &Failure{
				Kind: Pending, Err: fmt.Errorf("the router did not come back in %s: %w", s.o.times.reboot.Round(time.Second), why),
				State:  "The image was handed to sysupgrade after its test.",
				Advice: "Wait some minutes more. Then hold reset while it starts (failsafe), or use the board's recovery (TFTP, U-Boot's page); docs/operations.md tells how.",
			}
		}
	}
}
