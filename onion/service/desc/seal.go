package desc

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"globalnet/internal/identity"
	"globalnet/onion/service/key"
)

const (
	// MaxValue bounds the value for the hash table.
	MaxValue = 4096
	// MaxClients bounds the clients that a descriptor lets in.
	MaxClients = 96

	version   = 1
	sizeStep  = 1024 // values are padded to multiples
	saltSize  = 16
	signature = ed25519.SignatureSize
	tagSize   = chacha20poly1305.Overhead

	clientIDSize   = 8
	entrySize      = clientIDSize + CookieSize
	entryStep      = 16 // entries are filled up with decoys to multiples
	outerFixed     = 32 + 1
	overhead       = 1 + saltSize + tagSize + signature
	minInner       = fixedSize + tagSize
	signLabel      = "globalnet service descriptor"
	outerLabel     = "globalnet service outer"
	innerLabel     = "globalnet service inner"
	restrictedText = "globalnet service inner restricted"
	clientLabel    = "globalnet service client"
)

// Errors of Open that a caller tells apart.
var (
	ErrForged             = errors.New("descriptor does not verify")
	ErrOld                = errors.New("descriptor is older than one seen before")
	ErrNeedsAuthorisation = errors.New("the service needs authorisation: no key of ours is for it")
	ErrNotAuthorised      = errors.New("the service does not take our client key")
)

// CookieSize is the size of a Cookie.
const CookieSize = 16

// Cookie is a secret that a service gives to its authorised clients, in every
// descriptor to each of them: it opens the inner layer of a restricted service, and
// marks introductions that come first. The zero Cookie is none.
type Cookie [CookieSize]byte

// NewCookie draws a cookie. A service draws a new one when it shuts a client out.
func NewCookie() (c Cookie) {
	rand.Read(c[:])
	return c
}

// Access says whom a descriptor lets in.
type Access struct {
	Restricted bool // only Clients may read the introduction points
	Clients    []key.ClientPublic
	Cookie     Cookie // for Clients
}

// keys of the layers of one value.
type secrets struct {
	salt    []byte
	context []byte // credential ‖ blinded key
}

func newSecrets(service identity.NodeID, p key.Place, blinded ed25519.PublicKey, salt []byte) secrets {
	credential := key.CredentialFor(service, p.Period)
	return secrets{salt, append(credential[:], blinded...)}
}

// derive returns size bytes for label from secret and the context.
func (s secrets) derive(label string, secret []byte, size int) []byte {
	prk, err := hkdf.Extract(sha256.New, append(slices.Clone(secret), s.context...), s.salt)
	if err != nil {
		panic(err) // only for secrets too short in FIPS mode
	}
	out, err := hkdf.Expand(sha256.New, prk, label, size)
	if err != nil {
		panic(err) // only for sizes beyond 8160
	}
	return out
}

func (s secrets) outer() []byte { return s.derive(outerLabel, nil, chacha20poly1305.KeySize) }

// inner returns the key of the inner layer; the zero Cookie is for everybody.
func (s secrets) inner(c Cookie) []byte {
	if c == (Cookie{}) {
		return s.derive(innerLabel, nil, chacha20poly1305.KeySize)
	}
	return s.derive(restrictedText, c[:], chacha20poly1305.KeySize)
}

// client returns what the entry of a client begins with, and what hides its cookie.
func (s secrets) client(shared []byte) (id, pad []byte) {
	out := s.derive(clientLabel, shared, entrySize)
	return out[:clientIDSize], out[clientIDSize:]
}

// Seal makes the value that the machine of a service publishes at a place.
func Seal(service *identity.Identity, p key.Place, d *Descriptor, a Access) ([]byte, error) {
	ephemeral, err := key.NewClientKey()
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return seal(service, p, d, a, ephemeral, salt)
}

func seal(service *identity.Identity, p key.Place, d *Descriptor, a Access, ephemeral *key.ClientKey, salt []byte) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("sealing a descriptor: %w", err)
	}
	if len(a.Clients) > MaxClients || (a.Restricted || len(a.Clients) > 0) && a.Cookie == (Cookie{}) {
		return nil, fmt.Errorf("sealing a descriptor: %d clients, or no cookie for them", len(a.Clients))
	}
	signer := key.Signer(service, p)
	s := newSecrets(service.NodeID(), p, signer.Public(), salt)

	entries, err := s.entries(a, ephemeral)
	if err != nil {
		return nil, fmt.Errorf("sealing a descriptor: %w", err)
	}
	inner := d.appendInner(nil)
	size := overhead + outerFixed + len(entries) + len(inner) + tagSize
	inner = append(inner, make([]byte, (sizeStep-size%sizeStep)%sizeStep)...)
	innerKey := s.inner(Cookie{})
	if a.Restricted {
		innerKey = s.inner(a.Cookie)
	}

	e := ephemeral.Public()
	outer := append(slices.Clone(e[:]), byte(len(entries)/entrySize/entryStep))
	outer = append(outer, entries...)
	outer = sealWith(outer, innerKey, inner)
	value := append([]byte{version}, salt...)
	value = sealWith(value, s.outer(), outer)
	return append(value, signer.Sign(signedForm(value))...), nil
}

// entries returns one for each client, decoys up to the next step, and all shuffled.
func (s secrets) entries(a Access, ephemeral *key.ClientKey) ([]byte, error) {
	n := max((len(a.Clients)+entryStep-1)/entryStep, 1) * entryStep
	list := make([][]byte, 0, n)
	for _, c := range a.Clients {
		shared, err := ephemeral.Shared(c[:])
		if err != nil {
			return nil, fmt.Errorf("key of a client: %w", err)
		}
		id, pad := s.client(shared)
		subtle.XORBytes(pad, pad, a.Cookie[:])
		list = append(list, append(slices.Clip(id), pad...))
	}
	for len(list) < n {
		decoy := make([]byte, entrySize)
		rand.Read(decoy)
		list = append(list, decoy)
	}
	for i := n - 1; i > 0; i-- {
		j, err := rand.Int(rand.Reader, big.NewInt(int64(i+1)))
		if err != nil {
			return nil, err
		}
		list[i], list[j.Int64()] = list[j.Int64()], list[i]
	}
	return slices.Concat(list...), nil
}

// Opened is a descriptor as a client reads it.
type Opened struct {
	Descriptor
	Cookie Cookie // if our key is authorised
}

// Open reads the value that was found at a place of a service. Client is nil if we
// have no key for it. It is an error if the revision is below least.
func Open(value []byte, service identity.NodeID, p key.Place, client *key.ClientKey, least uint64) (*Opened, error) {
	blinded, err := key.Blinded(service, p)
	if err != nil {
		return nil, err
	}
	if len(value) < overhead+outerFixed+minInner || len(value) > MaxValue || value[0] != version {
		return nil, fmt.Errorf("%w: %d bytes", ErrForged, len(value))
	}
	body, sig := value[:len(value)-signature], value[len(value)-signature:]
	if !ed25519.Verify(blinded, signedForm(body), sig) {
		return nil, fmt.Errorf("%w: signature", ErrForged)
	}
	s := newSecrets(service, p, blinded, body[1:1+saltSize])
	outer, ok := openWith(s.outer(), body[1+saltSize:])
	if !ok {
		return nil, fmt.Errorf("%w: outer layer", ErrForged)
	}
	ephemeral, count, rest := outer[:32], int(outer[32])*entryStep, outer[outerFixed:]
	if count == 0 || len(rest) < count*entrySize+minInner {
		return nil, fmt.Errorf("%w: %d entries", errFormat, count)
	}
	o := new(Opened)
	if client != nil {
		o.Cookie = s.find(rest[:count*entrySize], ephemeral, client)
	}
	sealed := rest[count*entrySize:]
	inner, ok := openWith(s.inner(Cookie{}), sealed)
	if !ok && o.Cookie != (Cookie{}) {
		inner, ok = openWith(s.inner(o.Cookie), sealed)
	}
	switch {
	case !ok && client == nil:
		return nil, ErrNeedsAuthorisation
	case !ok:
		return nil, ErrNotAuthorised
	}
	d, err := parseInner(inner)
	if err != nil {
		return nil, err
	}
	if d.Revision < least {
		return nil, ErrOld
	}
	o.Descriptor = *d
	return o, nil
}

// find returns the cookie in the entry of a client, the zero Cookie if it has none.
func (s secrets) find(entries, ephemeral []byte, client *key.ClientKey) (c Cookie) {
	shared, err := client.Shared(ephemeral)
	if err != nil {
		return c // a point of small order, which the service would not send
	}
	id, pad := s.client(shared)
	for e := range slices.Chunk(entries, entrySize) {
		if subtle.ConstantTimeCompare(e[:clientIDSize], id) == 1 {
			subtle.XORBytes(c[:], e[clientIDSize:], pad)
		}
	}
	return c
}

func signedForm(body []byte) []byte {
	form := append([]byte{byte(len(signLabel))}, signLabel...)
	return append(form, body...)
}

// sealWith and openWith use keys that are good for one message, so the nonce is zero.
func sealWith(dst, k, plain []byte) []byte {
	a, err := chacha20poly1305.New(k)
	if err != nil {
		panic(err) // only for keys of a wrong size
	}
	return a.Seal(dst, make([]byte, chacha20poly1305.NonceSize), plain, nil)
}

func openWith(k, sealed []byte) ([]byte, bool) {
	a, err := chacha20poly1305.New(k)
	if err != nil {
		panic(err)
	}
	plain, err := a.Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, nil)
	return plain, err == nil
}
