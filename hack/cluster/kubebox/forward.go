package main

import (
	"io"
	"net"
)

// forward passes every TCP connection made to listen on to target, until listening fails.
// Pods reach the API server through it: the server itself listens on a loopback address only.
func forward(listen, target string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer server.Close()
			done := make(chan struct{})
			go func() {
				pass(server.(*net.TCPConn), client.(*net.TCPConn))
				close(done)
			}()
			pass(client.(*net.TCPConn), server.(*net.TCPConn))
			<-done
		}()
	}
}

// pass copies until the source ends, then ends the other direction's input; a broken copy ends both.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite()
}
