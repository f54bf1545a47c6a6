package meta

// Store is the ordered store beneath one replica: five calls. Keys are compared by bytes. A store has one writer; reads may run
// beside it. Beside the Pebble adapter of engine/drive there is MapStore, whose crash cuts history at a batch that a seed chooses.
type Store interface {
	Reader
	// Iterate returns an iterator over lower ≤ key < upper; it sees the store as it was at the call.
	Iterate(lower, upper []byte) Iterator
	// Commit applies the batch atomically. After a crash a prefix of the committed batches is there: order is kept, durability
	// comes with a flush that the store decides upon.
	Commit(b *Batch) error
	// Snapshot returns a view that later commits do not change. The caller closes it.
	Snapshot() Snapshot
	// Durable returns the value of key as a crash at this instant would leave it at worst, and whether it exists.
	Durable(key []byte) ([]byte, bool, error)
}

// Reader gets single rows. The value belongs to the caller.
type Reader interface {
	Get(key []byte) (value []byte, ok bool, err error)
}

// Snapshot is a Store's state at an instant.
type Snapshot interface {
	Reader
	Iterate(lower, upper []byte) Iterator
	Close() error
}

// Iterator walks rows in ascending order. It begins before the first row: call Next or SeekGE. Key and Value are valid until
// the next move. An error ends the walk and is returned by Close.
type Iterator interface {
	Next() bool
	SeekGE(key []byte) bool
	Key() []byte
	Value() []byte
	Close() error
}

// Op is one change of a row; Delete removes it.
type Op struct {
	Key, Value []byte
	Delete     bool
}

// Batch is a list of changes that a Store commits as one. Later changes of a key win. The zero value is empty and ready.
type Batch struct {
	Ops []Op
}

// Set puts a row. The batch keeps both slices.
func (b *Batch) Set(key, value []byte) { b.Ops = append(b.Ops, Op{Key: key, Value: value}) }

// Delete removes a row, which need not exist.
func (b *Batch) Delete(key []byte) { b.Ops = append(b.Ops, Op{Key: key, Delete: true}) }

// LogRecord is one record of a drive's meta stream as it was found when the drive was opened. Sequence orders the records of a
// drive.
type LogRecord struct {
	Sequence uint64
	Payload  []byte
}

// Entry is one committed entry of a group's log.
type Entry struct {
	Index, Term uint64
	Data        []byte
}
