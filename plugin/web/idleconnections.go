package web

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// idleConnections holds the connections without a running request, the longest idle first. New
// connections without a request are included. It is safe for concurrent use.
type idleConnections struct {
	mu    sync.Mutex
	order list.List // of *limitedConn
	at    map[*limitedConn]*list.Element
}

func (i *idleConnections) add(c *limitedConn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.at == nil {
		i.at = map[*limitedConn]*list.Element{}
	}
	if i.at[c] == nil {
		i.at[c] = i.order.PushBack(c)
	}
}

func (i *idleConnections) remove(c *limitedConn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if element := i.at[c]; element != nil {
		i.order.Remove(element)
		delete(i.at, c)
	}
}

// longest returns the connection that is idle for longest, or nil.
func (i *idleConnections) longest() *limitedConn {
	i.mu.Lock()
	defer i.mu.Unlock()
	element := i.order.Front()
	if element == nil {
		return nil
	}
	return element.Value.(*limitedConn)
}

// trackIdle is the ConnState function of an http.Server. It updates the listener's idle connections.
func trackIdle(c net.Conn, state http.ConnState) {
	limited, ok := c.(*limitedConn)
	if !ok {
		return
	}
	switch state {
	case http.StateNew, http.StateIdle:
		limited.idle.add(limited)
	default:
		limited.idle.remove(limited)
	}
}
