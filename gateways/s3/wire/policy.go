package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// FormPolicy says what a form may upload, and until when.
//
//	{"expiration": "2026-12-01T12:00:00.000Z",
//	 "conditions": [{"bucket": "b"}, ["eq", "$acl", "private"], ["starts-with", "$key", "user/"], ["content-length-range", 1, 1048576]]}
//
// Source: "POST policy" of the S3 API reference.
type FormPolicy struct {
	Expiration time.Time
	// SizeMin and SizeMax are the least and most bytes that the file may have.
	SizeMin, SizeMax int64

	conditions []condition
}

// condition is about the value of one field.
type condition struct {
	prefix bool   // starts-with, or else eq
	field  string // in lower case
	value  string
}

// String is how S3 writes the condition in an error.
func (c condition) String() string {
	operator := "eq"
	if c.prefix {
		operator = "starts-with"
	}
	text, _ := json.Marshal([]string{operator, "$" + c.field, c.value}) // strings can be marshalled
	return strings.ReplaceAll(string(text), ",", ", ")
}

func (c condition) holds(value string) bool {
	if !c.prefix {
		return value == c.value
	}
	if c.field != "content-type" {
		return strings.HasPrefix(value, c.value)
	}
	for one := range strings.SplitSeq(value, ",") { // each of a list of types must hold
		if !strings.HasPrefix(strings.TrimLeft(one, " \t"), c.value) {
			return false
		}
	}
	return true
}

func invalidPolicy(reason string) *FormError {
	return formError("InvalidPolicyDocument", "Invalid Policy: "+reason)
}

// ParseFormPolicy reads the value of a form's field policy, in base64. The errors are *FormError.
func ParseFormPolicy(text string) (*FormPolicy, error) {
	document, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalidPolicy("it is not in base64.")
	}
	p := policyParser{decoder: json.NewDecoder(bytes.NewReader(plainJSON(document))), policy: &FormPolicy{SizeMax: math.MaxInt64}}
	p.decoder.UseNumber()
	if err := p.document(); err != nil {
		var refused *FormError
		if errors.As(err, &refused) {
			return nil, refused
		}
		return nil, invalidPolicy("Invalid JSON.")
	}
	return p.policy, nil
}

// plainJSON replaces the two escapes in strings that policies have and JSON does not: \$ and \v.
func plainJSON(document []byte) []byte {
	out := make([]byte, 0, len(document))
	inside := false
	for i := 0; i < len(document); i++ {
		c := document[i]
		if c == '"' {
			inside = !inside
		}
		if !inside || c != '\\' || i+1 == len(document) {
			out = append(out, c)
			continue
		}
		i++
		switch document[i] {
		case '$':
			out = append(out, '$')
		case 'v':
			out = append(out, `\u000b`...)
		default:
			out = append(out, c, document[i])
		}
	}
	return out
}

// policyParser reads token by token: encoding/json would take names in any case and the last of several.
type policyParser struct {
	decoder *json.Decoder
	policy  *FormPolicy
}

func (p *policyParser) document() error {
	if err := p.delimiter('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.decoder.More() {
		name, err := p.text()
		if err != nil {
			return err
		}
		if seen[name] {
			return invalidPolicy("'" + name + "' is there twice.")
		}
		seen[name] = true
		switch name {
		case "expiration":
			err = p.expiration()
		case "conditions":
			err = p.conditions()
		default:
			err = invalidPolicy("Unexpected: '" + name + "'.")
		}
		if err != nil {
			return err
		}
	}
	if err := p.delimiter('}'); err != nil {
		return err
	}
	if _, err := p.decoder.Token(); err != io.EOF {
		return invalidPolicy("something follows it.")
	}
	for _, name := range []string{"expiration", "conditions"} {
		if !seen[name] {
			return invalidPolicy("Policy missing " + name + ".")
		}
	}
	return nil
}

func (p *policyParser) delimiter(want json.Delim) error {
	token, err := p.decoder.Token()
	if err == nil && token != want {
		err = invalidPolicy("Invalid JSON: " + string(want) + " was expected.")
	}
	return err
}

func (p *policyParser) text() (string, error) {
	token, err := p.decoder.Token()
	text, ok := token.(string)
	if err == nil && !ok {
		err = invalidPolicy("Invalid Condition: a string was expected.")
	}
	return text, err
}

func (p *policyParser) expiration() error {
	text, err := p.text()
	if err != nil {
		return err
	}
	if p.policy.Expiration, err = time.Parse(time.RFC3339, text); err != nil {
		return invalidPolicy("Invalid 'expiration' value: '" + text + "'")
	}
	return nil
}

func (p *policyParser) conditions() error {
	if err := p.delimiter('['); err != nil {
		return err
	}
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'):
			err = p.simple()
		case json.Delim('['):
			err = p.list()
		default:
			err = invalidPolicy("Invalid Condition: neither an object nor a list.")
		}
		if err != nil {
			return err
		}
	}
	return p.delimiter(']')
}

// simple reads the rest of {"field": "value"}.
func (p *policyParser) simple() error {
	for n := 0; p.decoder.More() || n == 0; n++ {
		if n > 0 || !p.decoder.More() {
			return invalidPolicy("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		field, err := p.text()
		if err != nil {
			return err
		}
		value, err := p.text()
		if err != nil {
			return err
		}
		p.add(false, field, value)
	}
	return p.delimiter('}')
}

func (p *policyParser) add(prefix bool, field, value string) {
	p.policy.conditions = append(p.policy.conditions, condition{prefix, strings.ToLower(field), value})
}

// list reads the rest of ["operator", …].
func (p *policyParser) list() error {
	operator, err := p.text()
	if err != nil {
		return err
	}
	switch operator = strings.ToLower(operator); operator {
	case "content-length-range":
		err = p.lengths()
	case "eq", "starts-with":
		var field, value string
		if field, err = p.text(); err != nil {
			return err
		}
		if value, err = p.text(); err != nil {
			return err
		}
		name, ok := strings.CutPrefix(field, "$")
		if !ok || name == "" {
			return invalidPolicy("Invalid Condition: the field '" + field + "' must begin with $.")
		}
		p.add(operator == "starts-with", name, value)
	default:
		err = invalidPolicy("Invalid Condition: unknown operation '" + operator + "'.")
	}
	if err != nil {
		return err
	}
	return p.delimiter(']')
}

// lengths reads the two numbers of a content-length-range. Of several ranges all hold.
func (p *policyParser) lengths() error {
	var limits [2]int64
	for i := range limits {
		token, err := p.decoder.Token()
		if err != nil {
			return err
		}
		text := ""
		switch token := token.(type) {
		case json.Number:
			text = token.String()
		case string: // some clients write numbers as strings, which S3 takes
			text = token
		}
		if limits[i], err = strconv.ParseInt(text, 10, 64); err != nil || limits[i] < 0 {
			return invalidPolicy("Invalid content-length-range: two numbers of bytes were expected.")
		}
	}
	p.policy.SizeMin, p.policy.SizeMax = max(p.policy.SizeMin, limits[0]), min(p.policy.SizeMax, limits[1])
	return nil
}

// uncovered reports whether a field needs no condition. A checksum only says what the file must be.
func uncovered(field string) bool {
	switch field {
	case "x-amz-signature", "signature", "awsaccesskeyid", "policy", "file":
		return true
	}
	return strings.HasPrefix(field, "x-ignore-") || strings.HasPrefix(field, "x-amz-checksum-")
}

// Check says whether a form is as the policy wants it: it has not expired, every condition about a field holds (one that the form does not have is
// empty), and every field of names has a condition. Names and the argument of value are in lower case. The size of the file is the caller's business. The
// errors are *FormError.
func (p *FormPolicy) Check(now time.Time, names []string, value func(name string) string) error {
	denied := func(reason string) error {
		return formError("AccessDenied", "Invalid according to Policy: "+reason)
	}
	if now.After(p.Expiration) {
		return denied("Policy expired.")
	}
	covered := map[string]bool{}
	for _, c := range p.conditions {
		if !c.holds(value(c.field)) {
			return denied("Policy Condition failed: " + c.String())
		}
		covered[c.field] = true
	}
	var extra []string
	for _, name := range names {
		if !covered[name] && !uncovered(name) {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		return denied("Extra input fields: " + strings.Join(extra, ", "))
	}
	return nil
}
