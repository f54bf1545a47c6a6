// Package access says who may come in: principals, the credentials that prove them, and the names of what they may do.
//
// Promise: a credential is never shown in a message, a log or a formatted value of this package.
//
// The package does not know how a credential travels (a gateway's business), nor how a decision is made and enforced
// (access/session's). For now there is one principal, root, whose keys the operator chooses.
package access

import (
	"crypto/subtle"
	"fmt"
)

// Action names what a principal wants to do, in the words of the AWS policy grammar: "s3:PutObject".
type Action string

// Principal is a verified caller.
type Principal struct {
	ID        string // the canonical id, 64 hexadecimal digits: the owner that protocols show
	Name      string // for people
	AccessKey string // the key that proved this principal
	Root      bool   // may do everything
}

// Credentials finds the secret behind an access key.
type Credentials interface {
	// Secret returns the secret key of accessKey and whose it is; ok is false when there is no such key.
	Secret(accessKey string) (secret string, p Principal, ok bool)
}

// RootID is the canonical id of the root principal, who owns every bucket. It is the same in every cluster, so that a copy of a
// cluster has the same owner: the SHA-256 of "holdfast root".
const RootID = "1a5cd3c49d0cfeb04bddf6de3017b1126402ac5c51ed2fef712df5045cbd6af9"

// Lengths of the root credential's keys in bytes.
const (
	RootAccessKeyMin = 3
	RootSecretKeyMin = 8
	RootKeyMax       = 128
)

// Root is the operator's credential: Credentials with one key.
type Root struct {
	AccessKey string
	SecretKey string
}

// Check returns what is wrong with the lengths or characters of the keys, or nil.
func (r Root) Check() error {
	if len(r.AccessKey) < RootAccessKeyMin || len(r.AccessKey) > RootKeyMax {
		return fmt.Errorf("the root access key has %d characters; %d to %d are allowed", len(r.AccessKey), RootAccessKeyMin, RootKeyMax)
	}
	if len(r.SecretKey) < RootSecretKeyMin || len(r.SecretKey) > RootKeyMax {
		return fmt.Errorf("the root secret key has %d characters; %d to %d are allowed", len(r.SecretKey), RootSecretKeyMin, RootKeyMax)
	}
	for i := range len(r.AccessKey) {
		if c := r.AccessKey[i]; c <= ' ' || c >= 0x7f || c == '/' || c == ',' || c == '=' {
			return fmt.Errorf("the root access key has the character %q; visible ASCII without '/', ',' and '=' is allowed", c)
		}
	}
	return nil
}

// Secret is Credentials.Secret.
func (r Root) Secret(accessKey string) (string, Principal, bool) {
	if r.AccessKey == "" || subtle.ConstantTimeCompare([]byte(accessKey), []byte(r.AccessKey)) != 1 {
		return "", Principal{}, false
	}
	return r.SecretKey, Principal{ID: RootID, Name: "root", AccessKey: r.AccessKey, Root: true}, true
}

// String hides the secret key.
func (r Root) String() string { return "root credential " + r.AccessKey }

// GoString hides the secret key.
func (r Root) GoString() string { return r.String() }
