package logs

import (
	"fmt"

	ab "slipway/plugin/autobuild"
)

// appended decides what of a runner's data, at an offset of its count, is to be added to a log,
// and how many bytes of the runner's there are then. Past the greatest size bytes are counted
// and not kept.
func appended(end ab.LogEnd, offset int64, data []byte, maxSize int64) (add ab.LogAddition, size int64, err error) {
	to := offset + int64(len(data))
	have := end.Size - end.Own
	switch {
	case end.Size >= maxSize:
		return add, max(have, to), nil
	case offset > have:
		return add, have, ErrGap
	case to <= have:
		return add, have, nil
	}
	data = data[have-offset:]
	room := maxSize - end.Size
	if int64(len(data)) < room {
		return ab.LogAddition{Data: data}, to, nil
	}
	full := ownLine(data[room-1] != '\n', fmt.Sprintf("This log has reached its greatest size, %d bytes; what follows is not kept.", maxSize))
	return ab.LogAddition{Data: append(data[:room:room], full.Data...), Own: full.Own}, to, nil
}

// ownLine is a line of the gateway's own, on a line of its own.
func ownLine(midLine bool, text string) ab.LogAddition {
	text += "\n"
	if midLine {
		text = "\n" + text
	}
	return ab.LogAddition{Data: []byte(text), Own: int64(len(text))}
}
