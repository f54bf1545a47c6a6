package group

import "fmt"

type dumpEvent struct{ answer chan string }

func (e dumpEvent) happen(c *core) { e.answer <- c.dump() }

// Dump describes the core for a failed test.
func (g *Group) Dump() string {
	e := dumpEvent{make(chan string, 1)}
	g.post(e)
	return <-e.answer
}

func (c *core) dump() (s string) {
	s = fmt.Sprintf("now %v campaign %v queue %d proposed %d reads %d answered %d batches %v beats %+v lead %+v change %+v transfer %+v\n",
		c.now.boot, c.campaign, len(c.queue), len(c.proposed), len(c.reads), len(c.answered), c.batches, c.beats, c.lead, c.change, c.transfer)
	for _, id := range c.order {
		p := c.replicas[id]
		s += fmt.Sprintf("  %d: gen %d failed %v state %v leader %d hard %+v commit %d last %d applied %+v appends %d committed %d owed %d applying %v install %+v stalled %v\n",
			p.id, p.generation, p.failed, p.state, p.leader, p.hard, p.commit, p.last, p.applied, len(p.appends), len(p.committed), len(p.owed),
			p.applying != nil, p.install, p.stalled)
		if p.alive() {
			s += fmt.Sprintf("     %+v\n", p.node.Status())
		}
	}
	for _, r := range c.results {
		s += fmt.Sprintf("  result %d..%d computing %d since %v\n", r.first, r.last, r.computing, r.since)
	}
	return s
}

// StorePrefix is where rows of a generation are.
var StorePrefix = storePrefix

// AppliedRow is the row that says how far rows go.
func AppliedRow(index, term uint64) []byte { return (&applied{index: index, term: term}).encode() }
