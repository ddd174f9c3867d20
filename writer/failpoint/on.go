//go:build faults

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// armed is what the file said last, and how often its point was passed since. Only
// builds for crash tests have it.
var armed struct {
	sync.Mutex
	text string
	seen int
}

// Here kills the process if the file says so.
func Here(p Point) {
	raw, err := os.ReadFile(os.Getenv("HUBFLIGHT_FAILPOINT"))
	if err != nil {
		return
	}
	count, point, ok := strings.Cut(strings.TrimSpace(string(raw)), " ")
	nth, err := strconv.Atoi(count)
	if !ok || err != nil {
		panic(fmt.Sprintf("failpoint: the file says %q", raw))
	}
	armed.Lock()
	defer armed.Unlock()
	if text := string(raw); text != armed.text {
		armed.text, armed.seen = text, 0
	}
	if Point(point) != p {
		return
	}
	if armed.seen++; armed.seen == nth {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it is on its way
	}
}
