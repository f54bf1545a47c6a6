package s3_test

import "testing"

// TestPresignedWithoutBody uploads with URLs of a signer that did not have the body and put the checksum of nothing into them.
func TestPresignedWithoutBody(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	const nothing = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"
	put := func(query, body string, headers ...string) ask {
		return ask{method: "PUT", target: "/bucket/k?x-id=PutObject&" + query, body: body, headers: headers, sign: signQuery}
	}
	checksums := func() map[string]string {
		sums := map[string]string{}
		h := f.want(ask{method: "HEAD", target: "/bucket/k", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "").header
		for _, name := range []string{"Crc32", "Sha256", "Crc64nvme"} {
			if sum := h.Get("X-Amz-Checksum-" + name); sum != "" {
				sums[name] = sum
			}
		}
		return sums
	}
	f.want(put(nothing, "hello"), 200, "")
	if got := checksums(); len(got) != 1 || got["Crc32"] != crcOf("hello") {
		t.Errorf("the object has the checksums %v", got)
	}
	f.want(put("x-amz-checksum-sha256=47DEQpj8HBSa%2B%2FTImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D&x-amz-sdk-checksum-algorithm=SHA256", "hello"), 200, "")
	if got := checksums(); len(got) != 1 || got["Sha256"] != "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=" {
		t.Errorf("the object has the checksums %v", got)
	}
	f.want(put(nothing, ""), 200, "")
	if got := checksums(); got["Crc32"] != "AAAAAA==" {
		t.Errorf("an empty object has the checksums %v", got)
	}

	f.want(put("x-amz-checksum-crc32=AAAAAQ%3D%3D&x-amz-sdk-checksum-algorithm=CRC32", "hello"), 400, "BadDigest")
	f.want(put("x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=SHA256", "hello"), 400, "InvalidRequest")
	f.want(put("x-amz-meta-a=b", "hello", "x-amz-checksum-crc32", "AAAAAA=="), 403, "AccessDenied") // a header, which nobody signed
	f.want(ask{method: "PUT", target: "/bucket/k", body: "hello", headers: []string{"x-amz-checksum-crc32", "AAAAAA=="}}, 400, "BadDigest")
	f.want(ask{method: "GET", target: "/bucket/k?" + nothing, sign: signQuery}, 501, "NotImplemented")
}
