package hubsink

import (
	"context"
	"time"
)

// Clock is the time that a commit waits by. It is safe for concurrent use.
type Clock interface {
	Now() time.Time
	// Wait returns after d, or earlier with the error of ctx.
	Wait(ctx context.Context, d time.Duration) error
}

// wall is the machine's clock.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func (wall) Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
