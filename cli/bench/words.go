// Package bench puts a server of S3 under load and measures it.
//
// A Client sends signed requests, Payloads are what it stores, Run lets clients repeat an operation and records how long each took, and a
// Plan is a whole measurement: it makes what it needs in a bucket, runs, reports, and takes away what it made.
//
// Promise: what is measured is the server. Bodies, their hashes and checksums are made before the time runs, memory does not grow with the
// number of requests, and an answer that is not the expected one counts as an error and never as a request served.
//
// The package knows nothing of Holdfast: it sees a server as a client does.
package bench

// Verb is what a request does.
type Verb string

// What a Plan can do. Mixed is all the others, in shares.
const (
	Put    Verb = "put"
	Get    Verb = "get"
	Stat   Verb = "stat"
	List   Verb = "list"
	Delete Verb = "delete"
	Mixed  Verb = "mixed"
)
