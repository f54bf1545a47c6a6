package meta

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"holdfast/engine"
)

// Describe returns a command in one line for people who look into a log. Fields that are zero are not shown.
func Describe(command []byte) string {
	h, confirmed, c, err := parseCommand(command)
	if err != nil {
		return fmt.Sprintf("a command of %d bytes: %v", len(command), err)
	}
	v := reflect.ValueOf(c).Elem()
	return fmt.Sprintf("epoch %d number %d confirmed %d at %s %s%s", h.Epoch, h.Number, confirmed, timeText(h.Stamp), v.Type().Name(), valueText(v))
}

func timeText(stamp int64) string { return time.Unix(0, stamp).UTC().Format(time.RFC3339Nano) }

// rowKind is a kind of row for those who look at it: its name, the parts of its key after the first byte, and what its value decodes to.
type rowKind struct {
	name  string
	parts []string
	row   func() row
}

// rowKinds has every kind that is written.
var rowKinds = map[byte]rowKind{
	rowAggregate:   {"aggregate", []string{"bucket", "directory"}, func() row { return new(aggregateRow) }},
	rowBucket:      {"bucket", []string{"bucket"}, func() row { return new(bucketRow) }},
	rowContent:     {"content", []string{"content"}, func() row { return new(contentRow) }},
	rowDrive:       {"drive", []string{"drive"}, func() row { return new(driveRow) }},
	rowDocument:    {"document", []string{"bucket", "name"}, func() row { return new(documentRow) }},
	rowEpoch:       {"epoch", []string{"epoch"}, func() row { return new(epochRow) }},
	rowScattered:   {"scattered", []string{"bucket", "inode"}, func() row { return new(emptyRow) }},
	rowGroup:       {"group", []string{"always"}, func() row { return new(groupRow) }},
	rowInode:       {"inode", []string{"bucket", "inode"}, func() row { return new(inodeRow) }},
	rowDetached:    {"detached", []string{"bucket", "directory"}, func() row { return new(detachedRow) }},
	rowXattr:       {"xattr", []string{"bucket", "inode", "name"}, func() row { return new(xattrRow) }},
	rowLink:        {"link", []string{"bucket", "inode", "directory", "name"}, func() row { return new(emptyRow) }},
	rowMissing:     {"missing", []string{"slack", "extent"}, func() row { return new(emptyRow) }},
	rowAnswer:      {"answer", []string{"epoch", "number"}, func() row { return new(Answer) }},
	rowPlacement:   {"placement", []string{"drive", "extent"}, func() row { return new(placementRow) }},
	rowGarbage:     {"garbage", []string{"index", "content"}, func() row { return new(emptyRow) }},
	rowRun:         {"run", []string{"content", "number"}, func() row { return new(runRow) }},
	rowStaged:      {"staged", []string{"epoch", "content"}, func() row { return new(emptyRow) }},
	rowEntry:       {"entry", []string{"bucket", "directory", "name"}, func() row { return new(entryRow) }},
	rowOlder:       {"older", []string{"bucket", "directory", "version"}, func() row { return new(entryRow) }},
	rowUpload:      {"upload", []string{"bucket", "key", "id"}, func() row { return new(uploadRow) }},
	rowPart:        {"part", []string{"bucket", "id", "part"}, func() row { return new(partRow) }},
	rowExtent:      {"extent", []string{"extent"}, func() row { return new(Extent) }},
	rowCondemned:   {"condemned", []string{"extent"}, func() row { return new(emptyRow) }},
	rowTrash:       {"trash", []string{"bucket", "id"}, func() row { return new(emptyRow) }},
	rowCursor:      {"cursor", []string{"bucket", "name"}, func() row { return new(cursorRow) }},
	rowFeed:        {"change", []string{"bucket", "sequence"}, func() row { return new(changeRow) }},
	rowHeld:        {"held", []string{"bucket", "owner", "inode"}, func() row { return new(heldRow) }},
	rowLocks:       {"locks", []string{"bucket", "inode"}, func() row { return new(locksRow) }},
	rowOwner:       {"owner", []string{"bucket", "owner"}, func() row { return new(ownerRow) }},
	rowName:        {"name", []string{"name"}, func() row { return new(directoryRow) }},
	rowMapDrive:    {"map drive", []string{"drive"}, func() row { return new(DriveRecord) }},
	rowSetting:     {"setting", []string{"name"}, func() row { return new(settingRow) }},
	rowNameCounter: {"name counter", nil, func() row { return new(nameCounterRow) }},
}

// DescribeRow returns a row in one line for people who look into an index. Fields that are zero are not shown.
func DescribeRow(key, value []byte) (string, error) {
	if len(key) == 0 {
		return "", fmt.Errorf("a row without a key: %w", errFormat)
	}
	kind, known := rowKinds[key[0]]
	if !known {
		return "", fmt.Errorf("metadata row %q is of no kind that this holdfast knows", key)
	}
	text, err := kind.keyText(key[1:])
	if err != nil {
		return "", fmt.Errorf("metadata row %q: %w", key, err)
	}
	r := kind.row()
	if err := parse(key, value, r); err != nil {
		return "", err
	}
	return text + " " + valueText(reflect.ValueOf(r).Elem()), nil
}

func (k *rowKind) keyText(key []byte) (string, error) {
	d := decoder{b: key}
	text := k.name
	for _, part := range k.parts {
		text += " " + part + "="
		switch part {
		case "name":
			text += strconv.Quote(string(d.b))
			d.b = nil
		case "id":
			id := d.b[:min(len(d.b), UploadIDBytes)]
			text += hex.EncodeToString(id)
			d.b = d.b[len(id):]
		case "key": // what follows it is the id
			name, id, err := splitUploadKey(d.b)
			if err != nil {
				return "", err
			}
			text += strconv.Quote(string(name))
			d.b = []byte(id)
		case "version": // behind a name
			name, sequence, err := splitUploadKey(d.b)
			if err != nil || len(sequence) != 8 {
				return "", errFormat
			}
			text = strings.TrimSuffix(text, " version=") + " name=" + strconv.Quote(string(name)) +
				" version=" + string(engine.FormatVersion(engine.Sequence(^binary.BigEndian.Uint64([]byte(sequence)))))
			d.b = nil
		case "extent":
			text += extentText(d.extent())
		case "slack":
			text += strconv.Itoa(int(d.byte()))
		case "part":
			if len(d.b) != 2 {
				return "", errFormat
			}
			text += strconv.Itoa(int(binary.BigEndian.Uint16(d.b)))
			d.b = nil
		default:
			text += strconv.FormatUint(d.fixed(), 10)
		}
	}
	return text, d.end()
}

func extentText(id engine.ExtentID) string {
	return fmt.Sprintf("%d.%d.%d", id.Group, id.Epoch, id.Counter)
}

// valueText shows the fields of a row or command that are not zero, whether exported or not.
func valueText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		return valueText(v.Elem())
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Struct:
		return structText(v)
	case reflect.Map:
		return mapText(v)
	case reflect.Slice, reflect.Array:
		return listText(v)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	}
	return strconv.FormatUint(v.Uint(), 10)
}

func structText(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[engine.ExtentID]():
		return fmt.Sprintf("%d.%d.%d", v.Field(0).Uint(), v.Field(1).Uint(), v.Field(2).Uint())
	case v.Type() == reflect.TypeFor[time.Time]():
		return timeText(v.Interface().(time.Time).UnixNano())
	}
	var fields []string
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() {
			fields = append(fields, v.Type().Field(i).Name+"="+valueText(f))
		}
	}
	return "{" + strings.Join(fields, " ") + "}"
}

func mapText(v reflect.Value) string {
	m := make(map[string]string, v.Len())
	for _, key := range v.MapKeys() {
		m[key.String()] = valueText(v.MapIndex(key))
	}
	var items []string
	for _, name := range sortedNames(m) {
		items = append(items, strconv.Quote(name)+"="+m[name])
	}
	return "[" + strings.Join(items, " ") + "]"
}

// listText shows bytes in hexadecimal.
func listText(v reflect.Value) string {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, v.Len())
		for i := range b {
			b[i] = byte(v.Index(i).Uint())
		}
		return hex.EncodeToString(b)
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i] = valueText(v.Index(i))
	}
	return "[" + strings.Join(items, " ") + "]"
}
