package key

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"globalnet/internal/blind"
	"globalnet/internal/identity"
)

// Length of a period. A service's blinded keys, and so the places of its
// descriptors, change with it.
const Length = 24 * time.Hour

const (
	periodMinutes = uint64(Length / time.Minute)

	// MaxSlots is how many machines can stand behind one address.
	MaxSlots = 8
	// Replicas is how many places one descriptor has, each with its own holders.
	Replicas = 2

	offsetLabel     = "globalnet service offset"
	placeLabel      = "globalnet service place"
	credentialLabel = "globalnet service credential"
	instanceLabel   = "globalnet service instance"
)

// Place is where one machine of a service publishes in a period. Every place has a
// blinded key of its own, so holders cannot tell which belong together.
type Place struct {
	Period  uint64
	Slot    uint8 // of the machine, below MaxSlots; 0 where there is one
	Replica uint8 // below Replicas
}

// offset makes the periods of services begin at different times of the day.
func offset(service identity.NodeID) int64 {
	sum := Hash(offsetLabel, service[:])
	return int64(binary.BigEndian.Uint64(sum[:]) % uint64(Length/time.Second))
}

// PeriodAt returns the period of a service at a time, which should be mesh time. A
// clock before 1970 counts as 1970.
func PeriodAt(service identity.NodeID, t time.Time) uint64 {
	return uint64(max(t.Unix(), 0)+offset(service)) / uint64(Length/time.Second)
}

// PeriodStart returns when a period begins.
func PeriodStart(service identity.NodeID, period uint64) time.Time {
	return time.Unix(int64(period*uint64(Length/time.Second))-offset(service), 0)
}

// PublishPeriods returns the periods for which a service publishes: this and the next.
func PublishPeriods(service identity.NodeID, now time.Time) [2]uint64 {
	p := PeriodAt(service, now)
	return [2]uint64{p, p + 1}
}

// Periods returns the periods in which a client looks for a service, and of which a
// service takes introductions: this one, then the neighbour that is closer in time, then
// the other. So clocks may differ by a day.
func Periods(service identity.NodeID, now time.Time) []uint64 {
	p := PeriodAt(service, now)
	if p == 0 {
		return []uint64{0, 1}
	}
	if now.Sub(PeriodStart(service, p)) < Length/2 {
		return []uint64{p, p - 1, p + 1}
	}
	return []uint64{p, p + 1, p - 1}
}

func (p Place) factor(service identity.NodeID) blind.Factor {
	secret := append([]byte{byte(len(placeLabel))}, placeLabel...)
	return blind.PeriodFactor(service[:], append(secret, p.Slot, p.Replica), p.Period, periodMinutes)
}

// Signer returns the key that signs what the service publishes at a place.
func Signer(service *identity.Identity, p Place) *blind.PrivateKey {
	return service.Blinded(p.factor(service.NodeID()))
}

// Blinded returns the public half of Signer, from which the place in the hash table
// follows. It fails for keys that no service has.
func Blinded(service identity.NodeID, p Place) (ed25519.PublicKey, error) {
	public, err := blind.PublicKey(service[:], p.factor(service))
	if err != nil {
		return nil, fmt.Errorf("blinding the key of service %s: %w", service.Short(), err)
	}
	return public, nil
}

// Credential is what proves, in a period, that somebody knows the service's address:
// the subcredential of rend-spec-v3.
type Credential [32]byte

// CredentialFor returns the credential of a service in a period.
func CredentialFor(service identity.NodeID, period uint64) Credential {
	return Hash(credentialLabel, binary.BigEndian.AppendUint64(service[:], period))
}

// Hash returns SHA-256 of parts, whose lengths are fixed, for one purpose: length of
// the purpose (1) ‖ purpose ‖ parts.
func Hash(purpose string, parts ...[]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{byte(len(purpose))})
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

// Instance names one machine of a service to the others and to clients. It stays the
// same over restarts, and says nothing of the node to who lacks its private key.
func Instance(node *identity.Identity, service identity.NodeID) [8]byte {
	sum := Hash(instanceLabel, node.Seed(), service[:])
	return [8]byte(sum[:8])
}
