package netdir

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"

	"globalnet/internal/identity"
)

const (
	vouchContext  = "globalnet vouch 1"
	familyContext = "globalnet family 1"
	familyLabel   = "globalnet family key"
)

// SignVouch returns the word of id that it has a link with node.
func SignVouch(id *identity.Identity, node identity.NodeID) Vouch {
	v := Vouch{Voucher: id.NodeID()}
	copy(v.Signature[:], id.Sign(vouchContext, node[:]))
	return v
}

func (v *Vouch) verify(node identity.NodeID) bool {
	return v.Voucher.Verify(vouchContext, node[:], v.Signature[:])
}

// FamilyKey returns the key of the family whose members share secret, which
// should be as hard to guess as a key: whoever guesses it can join.
func FamilyKey(secret string) ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, []byte(secret), nil, familyLabel, ed25519.SeedSize)
	if err != nil {
		panic("netdir: " + err.Error()) // only a wrong length is an error
	}
	return ed25519.NewKeyFromSeed(seed)
}

// SignFamily makes node a member of the family with this key.
func SignFamily(key ed25519.PrivateKey, node identity.NodeID) Family {
	id, err := identity.FromSeed(key.Seed())
	if err != nil {
		panic("netdir: " + err.Error())
	}
	f := Family{Key: id.NodeID()}
	copy(f.Signature[:], id.Sign(familyContext, node[:]))
	return f
}

func (f *Family) verify(node identity.NodeID) bool {
	return identity.NodeID(f.Key).Verify(familyContext, node[:], f.Signature[:])
}
