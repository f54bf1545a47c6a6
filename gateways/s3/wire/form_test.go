package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// formOf writes a form: pairs of names and values, then the file.
func formOf(file string, fields ...string) string {
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		b.WriteString("--x\r\nContent-Disposition: form-data; name=\"" + fields[i] + "\"\r\n\r\n" + fields[i+1] + "\r\n")
	}
	b.WriteString("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\a\\b.txt\"\r\nContent-Type: text/plain\r\n\r\n" + file + "\r\n")
	return b.String()
}

func codeOf(err error) string {
	var e *FormError
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func readForm(body io.Reader) (*Form, string, error) {
	f, err := ReadForm(body, "x")
	if err != nil {
		return nil, "", err
	}
	file, err := io.ReadAll(f)
	return f, string(file), err
}

func TestForm(t *testing.T) {
	content := strings.Repeat("\r\n--", 1<<14) + "\r\n--y\r\n"
	for name, tail := range map[string]string{"nothing": "--x--", "a field": "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nother\r\n--x--\r\n", "an epilogue": "--x--\r\n\r\nthe end"} {
		for way, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader, "with data": iotest.DataErrReader} {
			f, file, err := readForm(wrap(strings.NewReader(formOf(content, "Key", "k\r\n", "x-amz-meta-ü", "") + tail)))
			if err != nil || file != content {
				t.Fatalf("%s, %s: %d bytes, %v", name, way, len(file), err)
			}
			if key, ok := f.Field("kEY"); key != "k\r\n" || !ok || strings.Join(f.Names(), " ") != "key x-amz-meta-ü" || f.FileName != `C:\a\b.txt` {
				t.Errorf("%s, %s: %q %v %q", name, way, key, f.Names(), f.FileName)
			}
		}
	}
	if _, file, err := readForm(strings.NewReader(formOf("") + "--x--\r\n")); file != "" || err != nil {
		t.Errorf("an empty file: %q %v", file, err)
	}
}

func TestFormRefused(t *testing.T) {
	const end = "--x--\r\n"
	whole := formOf("content", "key", "k")
	for name, c := range map[string]struct{ body, code string }{
		"empty":                {"", "MalformedPOSTRequest"},
		"no boundary":          {"hello", "MalformedPOSTRequest"},
		"no file":              {"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n" + end, "InvalidArgument"},
		"nothing":              {end, "InvalidArgument"},
		"cut in a field":       {whole[:len("--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk")], "MalformedPOSTRequest"},
		"cut in the file":      {whole[:len(whole)-4], "MalformedPOSTRequest"},
		"no end":               {whole, "MalformedPOSTRequest"},
		"cut in what follows":  {whole + "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb", "MalformedPOSTRequest"},
		"a field twice":        {formOf("f", "key", "k", "KEY", "k") + end, "InvalidArgument"},
		"a part without name":  {formOf("f", "", "k") + end, "MalformedPOSTRequest"},
		"no disposition":       {"--x\r\nA: b\r\n\r\nk\r\n" + formOf("f") + end, "MalformedPOSTRequest"},
		"an attachment":        {strings.Replace(formOf("f", "key", "k"), "form-data", "attachment", 1) + end, "MalformedPOSTRequest"},
		"in base64":            {strings.Replace(formOf("f", "key", "k"), "\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1) + end, "MalformedPOSTRequest"},
		"fields too large":     {formOf("f", "key", strings.Repeat("k", FormBytesMax+8<<10)) + end, "MaxPostPreDataLengthExceeded"},
		"header too large":     {"--x\r\nA: " + strings.Repeat("a", FormBytesMax+8<<10) + "\r\n\r\n", "MaxPostPreDataLengthExceeded"},
		"preamble too large":   {strings.Repeat("a\r\n", 20<<10) + whole + end, "MaxPostPreDataLengthExceeded"},
		"too much follows":     {whole + "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + strings.Repeat("b", FormTailMax+8<<10) + "\r\n" + end, "MalformedPOSTRequest"},
		"too large a header":   {whole + "--x\r\nA: " + strings.Repeat("b", FormTailMax+8<<10) + "\r\n\r\n" + end, "MalformedPOSTRequest"},
		"too long an epilogue": {whole + end + strings.Repeat("b", FormTailMax+8<<10), "MalformedPOSTRequest"},
	} {
		if _, file, err := readForm(strings.NewReader(c.body)); codeOf(err) != c.code {
			t.Errorf("%s: %q %v, want %s", name, file, err, c.code)
		}
	}
	if _, err := ReadForm(strings.NewReader(whole), ""); codeOf(err) != "MalformedPOSTRequest" {
		t.Error(err)
	}
	broken := errors.New("the connection is gone")
	for n := range len(whole) + len(end) {
		if _, _, err := readForm(io.MultiReader(strings.NewReader((whole + end)[:n]), iotest.ErrReader(broken))); err != broken {
			t.Fatalf("gone after %d bytes: %v", n, err)
		}
	}
	if f, err := ReadForm(strings.NewReader(formOf("f", "key", strings.Repeat("k", FormBytesMax-1000))+end), "x"); err != nil || len(f.Names()) != 1 {
		t.Errorf("almost too large: %v", err)
	}
}

func TestFormBoundary(t *testing.T) {
	for contentType, want := range map[string]string{`multipart/form-data; boundary=x`: "x", `Multipart/Form-Data; Boundary="a b"; charset=utf-8`: "a b", "multipart/form-data": "",
		"multipart/mixed; boundary=x": "-", "": "-", "multipart/form-data; boundary=": "-", "application/x-www-form-urlencoded": "-", "multipart/form-data; boundary=x; boundary=y": "-"} {
		boundary, ok := FormBoundary(contentType)
		if !ok {
			boundary = "-"
		}
		if boundary != want {
			t.Errorf("%q: %q", contentType, boundary)
		}
	}
}

func policyOf(t testing.TB, document string) *FormPolicy {
	t.Helper()
	p, err := ParseFormPolicy(base64.StdEncoding.EncodeToString([]byte(document)))
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	return p
}

func TestFormPolicy(t *testing.T) {
	const head = `{"expiration": "2026-12-01T12:00:00.000Z", "conditions": `
	before := time.Date(2026, 12, 1, 11, 59, 59, 0, time.UTC)
	for _, c := range []struct {
		conditions string
		fields     string // name=value
		want       string // of the error's text; "" for none
	}{
		{`[]`, "", ""},
		{`[{"key": "a"}]`, "key=a", ""},
		{`[{"kEy": "a"}]`, "key=a", ""},
		{`[["EQ", "$Key", "a"]]`, "key=a", ""},
		{`[["starts-with", "$key", "a/"]]`, "key=a/b", ""},
		{`[["Starts-With", "$key", ""]]`, "key=anything", ""},
		{`[["starts-with", "$key", ""]]`, "", ""},
		{`[["starts-with", "$key", "a/"]]`, "key=b", `Policy Condition failed: ["starts-with", "$key", "a/"]`},
		{`[["eq", "$key", "a"]]`, "key=A", `Policy Condition failed: ["eq", "$key", "a"]`},
		{`[{"acl": "private"}, {"key": "a"}]`, "key=a", `Policy Condition failed: ["eq", "$acl", "private"]`},
		{`[{"key": "a"}, {"key": "b"}]`, "key=a", "failed"},
		{`[{"key": "a"}]`, "key=a acl=x x-amz-meta-b=1", "Extra input fields: acl, x-amz-meta-b"},
		{`[]`, "x-amz-signature= signature= awsaccesskeyid= policy= x-ignore-a= x-amz-checksum-crc32= file=", ""},
		{`[]`, "x-amz-date=1", "Extra"}, {`[]`, "x-ignore=1", "Extra"}, {`[]`, "success_action_status=1", "Extra"},
		{`[["starts-with", "$Content-Type", "image/"]]`, "content-type=image/png,image/gif, image/x", ""},
		{`[["starts-with", "$Content-Type", "image/"]]`, "content-type=image/png,text/html", "failed"},
		{`[["eq", "$Content-Type", "image/"]]`, "content-type=image/,image/", "failed"},
		{`[["starts-with", "$x-amz-meta-a", "image/"]]`, "x-amz-meta-a=image/,x", ""},
		{`[["eq", "$key", "\$a\v\"\\\u00fc"]]`, "key=$a\v\"\\ü", ""},
		{`[["content-length-range", 1, 10]]`, "", ""},
	} {
		fields, names := map[string]string{}, []string(nil)
		for _, pair := range strings.Split(strings.ReplaceAll(c.fields, ", ", ",_"), " ") {
			if name, value, ok := strings.Cut(strings.ReplaceAll(pair, ",_", ", "), "="); ok {
				fields[name], names = value, append(names, name)
			}
		}
		err := policyOf(t, head+c.conditions+"}").Check(before, names, func(name string) string { return fields[name] })
		if c.want == "" && err != nil || c.want != "" && (codeOf(err) != "AccessDenied" || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %q: %v", c.conditions, c.fields, err)
		}
	}
	if err := policyOf(t, head+"[]}").Check(before.Add(2*time.Second), nil, nil); codeOf(err) != "AccessDenied" || !strings.Contains(err.Error(), "Policy expired.") {
		t.Error(err)
	}
	if p := policyOf(t, head+`[["content-length-range", 5, "20"], ["Content-Length-Range", 1, 10]]}`); p.SizeMin != 5 || p.SizeMax != 10 {
		t.Errorf("%d to %d", p.SizeMin, p.SizeMax)
	}
}

func TestFormPolicyMalformed(t *testing.T) {
	const head = `{"expiration": "2026-12-01T12:00:00Z", "conditions": `
	for _, document := range []string{"", "{}", "[]", "null", `"x"`, head, head + "[]", head + "{}}", head + `[]} x`, head + `[]}{}`, `{"conditions": []}`, `{"expiration": "2026-12-01T12:00:00Z"}`,
		`{"EXPIRATION": "2026-12-01T12:00:00Z", "conditions": []}`, `{"expiration": "2026-12-01T12:00:00Z", "CONDITIONS": []}`, `{"expiration": "2026-12-01 12:00:00", "conditions": []}`,
		`{"expiration": 1, "conditions": []}`, head + `[], "conditions": []}`, head + `[], "x": 1}`, head + `[1]}`, head + `["eq"]}`, head + `[{}]}`, head + `[{"a": "b", "c": "d"}]}`,
		head + `[{"a": 1}]}`, head + `[{"a": null}]}`, head + `[{"a": ["b"]}]}`, head + `[[]]}`, head + `[["eq"]]}`, head + `[["eq", "$a"]]}`, head + `[["eq", "a", "b"]]}`, head + `[["eq", "$", "b"]]}`,
		head + `[["eq", "$a", "b", "c"]]}`, head + `[["eq", "$a", 1]]}`, head + `[["ends-with", "$a", "b"]]}`, head + `[["content-length-range", 0]]}`, head + `[["content-length-range", -1, 0]]}`,
		head + `[["content-length-range", 0, 1.5]]}`, head + `[["content-length-range", 0, 1, 2]]}`, head + `[["content-length-range", 0, 99999999999999999999]]}`,
		head + `[["content-length-range", 0, {}]]}`, head + `[["eq", "$a", "\x"]]}`} {
		if _, err := ParseFormPolicy(base64.StdEncoding.EncodeToString([]byte(document))); codeOf(err) != "InvalidPolicyDocument" {
			t.Errorf("%s: %v", document, err)
		}
	}
	if _, err := ParseFormPolicy("%"); codeOf(err) != "InvalidPolicyDocument" {
		t.Error(err)
	}
}

func FuzzForm(f *testing.F) {
	f.Add([]byte(formOf("content", "key", "k") + "--x--\r\n"))
	f.Add([]byte("--x\nContent-Disposition: form-data; name=file\n\nab\n--x--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		form, err := ReadForm(bytes.NewReader(body), "x")
		if err != nil {
			if codeOf(err) == "" || !Known(codeOf(err)) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		size := 0
		for _, name := range form.Names() {
			value, _ := form.Field(name)
			size += len(name) + len(value)
		}
		if size > FormBytesMax+readAhead {
			t.Fatalf("%d bytes of fields", size)
		}
		file, err := io.ReadAll(form)
		if err == nil && (!bytes.Contains(body, file) || !bytes.Contains(body, []byte("--x--"))) {
			t.Fatalf("%q became %q", body, file)
		}
		if err != nil && !Known(codeOf(err)) {
			t.Fatalf("%q: %v", body, err)
		}
	})
}

func FuzzFormPolicy(f *testing.F) {
	f.Add([]byte(`{"expiration": "2026-12-01T12:00:00Z", "conditions": [{"a": "b"}, ["eq", "$a", "\$b"], ["content-length-range", 1, 2]]}`), "a", "b")
	f.Fuzz(func(t *testing.T, document []byte, name, value string) {
		p, err := ParseFormPolicy(base64.StdEncoding.EncodeToString(document))
		if err != nil {
			if codeOf(err) != "InvalidPolicyDocument" {
				t.Fatal(err)
			}
			return
		}
		if p.SizeMin < 0 || p.SizeMax < 0 {
			t.Fatalf("%d to %d", p.SizeMin, p.SizeMax)
		}
		err = p.Check(p.Expiration, []string{name}, func(string) string { return value })
		if err == nil && !uncovered(name) && len(p.conditions) == 0 {
			t.Fatal("a field without a condition was allowed")
		}
		if p.Check(p.Expiration.Add(1), nil, func(string) string { return "" }) == nil {
			t.Fatal("an expired policy was allowed")
		}
	})
}
