package logs

import (
	"fmt"

	ab "slipway/plugin/autobuild"
)

// nextAddition returns the part of a runner's data that is new, and the size of the runner's
// output afterwards. The offset counts the runner's bytes only. After maxSize is reached, it
// counts bytes and drops them.
func nextAddition(end ab.LogEnd, offset int64, data []byte, maxSize int64) (add ab.LogAddition, size int64, err error) {
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
	full := gatewayLine(data[room-1] != '\n',
		fmt.Sprintf("This log has reached its greatest size, %d bytes; what follows is not kept.", maxSize))
	return ab.LogAddition{Data: append(data[:room:room], full.Data...), Own: full.Own}, to, nil
}

// gatewayLine returns a line of the gateway. It ends the runner's incomplete line first.
func gatewayLine(midLine bool, text string) ab.LogAddition {
	text += "\n"
	if midLine {
		text = "\n" + text
	}
	return ab.LogAddition{Data: []byte(text), Own: int64(len(text))}
}
