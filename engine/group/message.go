package group

import (
	"encoding/binary"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"holdfast/engine"
)

// MessageType tells what a Message carries.
type MessageType uint8

const (
	// MessageRaft carries a message of the consensus.
	MessageRaft MessageType = iota
	// MessageBeat asks a replica to answer round Round of the leader of Term, and not to vote for another for an election timeout.
	MessageBeat
	// MessageBeatAnswer answers a MessageBeat.
	MessageBeatAnswer
)

// Message goes from a replica of one process to one of another. It may be lost, delayed, repeated and overtaken.
type Message struct {
	Group    engine.GroupID
	Type     MessageType
	From, To uint64 // replicas
	Drive    engine.DriveID
	Term     uint64
	Round    uint64
	Raft     *raftpb.Message // for MessageRaft
}

// Encode returns the message as bytes: format version, then the fields as varints, then the consensus' own encoding.
func (m *Message) Encode() ([]byte, error) {
	b := []byte{recordFormat}
	for _, v := range []uint64{uint64(m.Group), uint64(m.Type), m.From, m.To, uint64(m.Drive), m.Term, m.Round} {
		b = binary.AppendUvarint(b, v)
	}
	if m.Raft == nil {
		return b, nil
	}
	return proto.MarshalOptions{}.MarshalAppend(b, m.Raft)
}

// DecodeMessage is the inverse of Encode. KindInvalidArgument for bytes that Encode does not write.
func DecodeMessage(b []byte) (Message, error) {
	r := reader{b: b}
	r.format("the message")
	group, kind := r.uint(), r.uint()
	m := Message{Group: engine.GroupID(group), Type: MessageType(kind), From: r.uint(), To: r.uint(), Drive: engine.DriveID(r.uint())}
	m.Term, m.Round = r.uint(), r.uint()
	if r.bad || group > 1<<32-1 || kind > uint64(MessageBeatAnswer) {
		return Message{}, engine.E(engine.KindInvalidArgument, "a message between replicas is malformed")
	}
	if m.Type != MessageRaft {
		if len(r.b) > 0 {
			return Message{}, engine.E(engine.KindInvalidArgument, "a message between replicas has %d bytes too many", len(r.b))
		}
		return m, nil
	}
	m.Raft = &raftpb.Message{}
	if err := proto.Unmarshal(r.b, m.Raft); err != nil {
		return Message{}, engine.E(engine.KindInvalidArgument, "a message between replicas: %w", err)
	}
	if m.Raft.GetFrom() != m.From || m.Raft.GetTo() != m.To || m.Raft.GetTerm() == 0 || !overNetwork[m.Raft.GetType()] {
		return Message{}, engine.E(engine.KindInvalidArgument, "a message between replicas is not one that replicas send")
	}
	return m, nil
}

// overNetwork has the consensus messages that cross processes. Proposals are not forwarded, snapshots have a way of their own.
var overNetwork = map[raftpb.MessageType]bool{
	raftpb.MsgApp: true, raftpb.MsgAppResp: true, raftpb.MsgVote: true, raftpb.MsgVoteResp: true, raftpb.MsgPreVote: true,
	raftpb.MsgPreVoteResp: true, raftpb.MsgHeartbeat: true, raftpb.MsgHeartbeatResp: true, raftpb.MsgTimeoutNow: true,
}
