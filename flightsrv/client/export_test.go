package client

import "time"

// SayAliveEvery makes a client's uploads tell the server that often that it is there.
func SayAliveEvery(c *Client, every time.Duration) { c.aliveEvery = every }
