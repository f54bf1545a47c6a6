package sigv4

import (
	"maps"
	"testing"
	"time"
)

// TestPublishedPolicy is the example of "Browser-Based Uploads Using POST (AWS Signature Version 4)"; of its policy, only the base64 matters here.
func TestPublishedPolicy(t *testing.T) {
	const policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9"
	when := time.Date(2015, 12, 29, 0, 0, 0, 0, time.UTC)
	fields := signer.SignPolicy(policy, when)
	if got := fields["x-amz-signature"]; got != "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e" {
		t.Errorf("the signature is %s", got)
	}
	v := exampleVerifier()
	v.Now = func() time.Time { return when }
	if key, err := v.VerifyForm(lookup(fields)); err != nil || key != exampleKey {
		t.Errorf("%q %v", key, err)
	}
}

func lookup(fields map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if name == "AWSAccessKeyId" || name == "awsaccesskeyid" {
			name = "AWSAccessKeyId"
		}
		value, ok := fields[name]
		return value, ok
	}
}

func TestFormTampering(t *testing.T) {
	drop := func(name string) func(map[string]string) {
		return func(f map[string]string) { delete(f, name) }
	}
	set := func(name, value string) func(map[string]string) {
		return func(f map[string]string) { f[name] = value }
	}
	scope := func(text string) func(map[string]string) { return set("x-amz-credential", exampleKey+"/"+text) }
	type change struct {
		change func(map[string]string)
		code   string
	}
	v4 := map[string]change{
		"good":              {func(map[string]string) {}, ""},
		"nothing":           {func(f map[string]string) { clear(f) }, "AccessDenied"},
		"policy":            {set("policy", "e30"), "SignatureDoesNotMatch"},
		"no policy":         {drop("policy"), "InvalidArgument"},
		"no signature":      {drop("x-amz-signature"), "InvalidArgument"},
		"no date":           {drop("x-amz-date"), "InvalidArgument"},
		"no algorithm":      {drop("x-amz-algorithm"), "InvalidArgument"},
		"no credential":     {drop("x-amz-credential"), "InvalidArgument"},
		"policy alone":      {func(f map[string]string) { clear(f); f["policy"] = "e30=" }, "InvalidArgument"},
		"algorithm":         {set("x-amz-algorithm", "AWS4-ECDSA-P256-SHA256"), "AuthorizationQueryParametersError"},
		"credential":        {set("x-amz-credential", "x"), "AuthorizationQueryParametersError"},
		"region":            {scope("20130524/eu-west-1/s3/aws4_request"), "AuthorizationQueryParametersError"},
		"service":           {scope("20130524/us-east-1/sts/aws4_request"), "AuthorizationQueryParametersError"},
		"terminal":          {scope("20130524/us-east-1/s3/x"), "AuthorizationQueryParametersError"},
		"scope date":        {scope("20130525/us-east-1/s3/aws4_request"), "AuthorizationQueryParametersError"},
		"date":              {set("x-amz-date", "yesterday"), "AuthorizationQueryParametersError"},
		"other key":         {set("x-amz-credential", "AKIA/20130524/us-east-1/s3/aws4_request"), "InvalidAccessKeyId"},
		"signature":         {set("x-amz-signature", "00"), "SignatureDoesNotMatch"},
		"version 2, too":    {set("signature", "x"), "InvalidArgument"},
		"a token":           {set("x-amz-security-token", "x"), "InvalidToken"},
		"of next fortnight": {func(f map[string]string) { maps.Copy(f, signer.SignPolicy("e30=", exampleTime.Add(14*24*time.Hour))) }, "AccessDenied"},
	}
	v2 := map[string]change{
		"good":         {func(map[string]string) {}, ""},
		"policy":       {set("policy", "e30"), "SignatureDoesNotMatch"},
		"no signature": {drop("signature"), "InvalidArgument"},
		"no key":       {drop("AWSAccessKeyId"), "InvalidArgument"},
		"no policy":    {drop("policy"), "InvalidArgument"},
		"other key":    {set("AWSAccessKeyId", "x"), "InvalidAccessKeyId"},
		"signature":    {set("signature", "x"), "SignatureDoesNotMatch"},
		"a token":      {set("x-amz-security-token", "x"), "InvalidToken"},
	}
	for way, changes := range map[string]map[string]change{"4": v4, "2": v2} {
		for name, c := range changes {
			fields := signer.SignPolicyV2("e30=")
			if way == "4" {
				fields = signer.SignPolicy("e30=", exampleTime)
			}
			c.change(fields)
			if _, err := exampleVerifier().VerifyForm(lookup(fields)); code(err) != c.code {
				t.Errorf("version %s, %s: %v, want %q", way, name, err, c.code)
			}
		}
	}
	v := exampleVerifier()
	v.RefuseV2 = true
	if _, err := v.VerifyForm(lookup(signer.SignPolicyV2("e30="))); code(err) != "InvalidRequest" {
		t.Errorf("refused, but %v", err)
	}
}
