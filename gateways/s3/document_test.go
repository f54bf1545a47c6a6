package s3_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/s3-operations.md")

const operationsPage = "../../docs/s3-operations.md"

// operationsHead begins the page.
const operationsHead = `# The operations of S3, one by one

Written by ` + "`go test ./gateways/s3 -run TestSilentSuccess -update`" + ` from what the gateway answered to every operation of the API reference with every header and
parameter of the reference; the test fails when the gateway and this page differ. [s3.md](s3.md) explains the behaviour.

An operation is *supported*, *answered as absent* (a question about a feature that no bucket has; the code or the empty document is S3's own), or *refused* with a code
before anything is read or changed. What a row does not have in its last two columns is refused too. Not listed are what every operation understands
(` + "`x-amz-date`, `x-amz-content-sha256`, `x-amz-user-agent`" + `, for buckets and objects ` + "`x-amz-expected-bucket-owner`" + `, and the parameter ` + "`x-id`" + ` with the name of the operation),
parameters that are the operation itself, and the headers of HTTP that describe an object (` + "`Content-Type`, `Content-Encoding`, `Content-Language`, `Content-Disposition`, `Cache-Control`, `Expires`" + `),
which PutObject, CopyObject and CreateMultipartUpload keep.

| operation | request | answer | headers | parameters |
|---|---|---|---|---|
`

// tablePage writes what was seen, a row for each operation.
func tablePage(all []form, seen map[string]observed) string {
	var b strings.Builder
	b.WriteString(operationsHead)
	rows := operationRows()
	slices.SortFunc(all, func(a, b form) int { return strings.Compare(a.name, b.name) })
	for _, o := range all {
		row, known := rows[o.name]
		answer, headers, parameters := "supported", []string(nil), []string(nil)
		code := seen[o.name].reply.code()
		switch {
		case !known:
			answer = "refused: `" + code + "`"
		case row.Absent && code != "":
			answer = "absent: `" + code + "`"
		case row.Absent:
			answer = "absent: a document that says so"
		}
		for _, m := range seen[o.name].taken {
			switch {
			case m.name == "x-amz-date" || m.name == "x-amz-content-sha256" || m.name == "x-amz-user-agent" || m.name == "x-amz-expected-bucket-owner" || m.name == "x-id":
			case m.name == "x-amz-meta-silent":
				headers = append(headers, "`x-amz-meta-*`")
			case m.header:
				headers = append(headers, "`"+m.name+"`")
			case !slices.ContainsFunc(row.Need, func(need string) bool { n, _, _ := strings.Cut(need, "="); return n == m.name }):
				parameters = append(parameters, "`"+m.name+"`")
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", o.name, shape(o), answer, strings.Join(headers, ", "), strings.Join(parameters, ", "))
	}
	return b.String()
}

// shape is the request as the API reference has it.
func shape(o form) string {
	for line := range strings.Lines(apiOperations + ownOperations) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == o.name {
			path, query, _ := strings.Cut(fields[2], "?")
			path = strings.Replace(strings.Replace(path, "/k", "/key", 1), "/b", "/bucket", 1)
			if query != "" {
				path += "?" + strings.NewReplacer("=1", "=…").Replace(query)
			}
			return "`" + o.method + " " + path + "`"
		}
	}
	return ""
}

// compareTable holds docs/s3-operations.md against what was seen, or writes it.
func compareTable(t *testing.T, all []form, seen map[string]observed) {
	t.Helper()
	want := tablePage(all, seen)
	if *update {
		if err := os.WriteFile(operationsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(operationsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/s3-operations.md is not what the gateway does; go test ./gateways/s3 -run TestSilentSuccess -update writes it")
	}
}
