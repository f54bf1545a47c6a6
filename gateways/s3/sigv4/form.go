package sigv4

import (
	"time"
)

// VerifyForm checks the signature of the policy of an upload from a browser, which is in the fields of the form, and returns the access key. field gives
// the value of a field by its name in lower case, and whether the form has it. What the policy allows is the caller's business, its expiry included. The
// errors are *Error.
//
// Source: "Browser-Based Uploads Using POST (AWS Signature Version 4)" of the S3 API reference; "Browser-based uploads using POST (AWS Signature
// Version 2)" of the S3 user guide. In both the string to sign is the policy as it is in the form, in base64.
func (v *Verifier) VerifyForm(field func(name string) (string, bool)) (accessKey string, err error) {
	any := func(names ...string) bool {
		for _, name := range names {
			if _, ok := field(name); ok {
				return true
			}
		}
		return false
	}
	v4, v2 := any("x-amz-signature", "x-amz-credential", "x-amz-algorithm"), any("signature", "awsaccesskeyid")
	switch {
	case v4 && v2:
		return "", refuse("InvalidArgument", "Only one auth mechanism allowed; the form has fields of Signature Version 2 and of Version 4", Field{"ArgumentName", "signature"})
	case !v4 && !v2 && !any("policy"):
		return "", refuse("AccessDenied", "Access Denied: the form has no policy and is not signed.")
	}
	if _, ok := field("x-amz-security-token"); ok {
		return "", invalidToken()
	}
	if v4 {
		return v.verifyFormV4(field)
	}
	return v.verifyFormV2(field)
}

// required returns the values of the fields of these names.
func required(field func(name string) (string, bool), names ...string) ([]string, error) {
	values := make([]string, len(names))
	for i, name := range names {
		var ok bool
		if values[i], ok = field(name); !ok || values[i] == "" {
			return nil, refuse("InvalidArgument", "Bucket POST must contain a field named '"+name+"'.  If it is specified, please check the order of the fields.",
				Field{"ArgumentName", name}, Field{"ArgumentValue", ""})
		}
	}
	return values, nil
}

func (v *Verifier) verifyFormV2(field func(name string) (string, bool)) (string, error) {
	if v.RefuseV2 {
		return "", unsupportedMechanism()
	}
	values, err := required(field, "policy", "signature", "AWSAccessKeyId")
	if err != nil {
		return "", err
	}
	policy, signature, accessKey := values[0], values[1], values[2]
	secret, ok := v.Secret(accessKey)
	if !ok {
		return "", unknownKey(accessKey)
	}
	if !sameSignature(macV2(secret, policy), signature) {
		return "", formMismatch(accessKey, policy, signature)
	}
	return accessKey, nil
}

func (v *Verifier) verifyFormV4(field func(name string) (string, bool)) (string, error) {
	values, err := required(field, "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
	if err != nil {
		return "", err
	}
	policy, named, scope, date, signature := values[0], values[1], values[2], values[3], values[4]
	const code = "AuthorizationQueryParametersError" // S3 has the same words for forms
	if named != algorithm {
		return "", refuse(code, `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	}
	c := &claim{presigned: true, malformed: code}
	if c.credential, err = parseQueryCredential(scope); err != nil {
		return "", err
	}
	if c.when, err = time.Parse(timeFormat, date); err != nil {
		return "", refuse(code, `X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if err := v.checkScope(c); err != nil {
		return "", err
	}
	if now := v.Now().UTC(); c.when.Sub(now) > SkewMax {
		return "", notYet(now)
	}
	secret, ok := v.Secret(c.credential.accessKey)
	if !ok {
		return "", unknownKey(c.credential.accessKey)
	}
	if !sameSignature(hexMAC(signingKey(secret, c.credential), policy), signature) {
		return "", formMismatch(c.credential.accessKey, policy, signature)
	}
	return c.credential.accessKey, nil
}

func formMismatch(accessKey, policy, signature string) *Error {
	return refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
		Field{"AWSAccessKeyId", accessKey}, Field{"StringToSign", policy}, Field{"SignatureProvided", signature})
}

// SignPolicy returns the fields of a form that sign a policy, given in base64: with Version 4 all of them, for its policy has to name them too.
func (s Signer) SignPolicy(policy string, when time.Time) map[string]string {
	c := s.credential(when)
	return map[string]string{"policy": policy, "x-amz-algorithm": algorithm, "x-amz-credential": s.FormCredential(when), "x-amz-date": when.UTC().Format(timeFormat),
		"x-amz-signature": hexMAC(signingKey(s.SecretKey, c), policy)}
}

// FormCredential is the value of x-amz-credential of a form that is signed at an instant.
func (s Signer) FormCredential(when time.Time) string {
	return s.AccessKey + "/" + s.credential(when).scope()
}

// SignPolicyV2 returns the fields of a form that sign a policy, given in base64, with Version 2.
func (s Signer) SignPolicyV2(policy string) map[string]string {
	return map[string]string{"policy": policy, "AWSAccessKeyId": s.AccessKey, "signature": macV2(s.SecretKey, policy)}
}
