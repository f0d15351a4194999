package logs

import (
	"fmt"

	"slipway/plugin/autobuild"
)

// nextAddition returns the part of a runner's data that is new, and the size of the runner's
// output afterwards. The offset counts the runner's bytes only. After maxSize is reached, it
// counts bytes and drops them.
func nextAddition(
	end autobuild.LogEnd,
	offset int64,
	data []byte,
	maxSize int64,
) (add autobuild.LogAddition, size int64, err error) {
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
		return autobuild.LogAddition{Data: data}, to, nil
	}
	full := gatewayLine(data[room-1] != '\n',
		fmt.Sprintf("This log has reached its maximum size, %d bytes. The rest is not stored.", maxSize))
	return autobuild.LogAddition{Data: append(data[:room:room], full.Data...), Own: full.Own}, to, nil
}

// gatewayLine returns a line of the gateway. It ends the runner's incomplete line first.
func gatewayLine(midLine bool, text string) autobuild.LogAddition {
	text += "\n"
	if midLine {
		text = "\n" + text
	}
	return autobuild.LogAddition{Data: []byte(text), Own: int64(len(text))}
}
