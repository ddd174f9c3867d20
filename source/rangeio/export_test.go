package rangeio

import "time"

// Observe lets a test say how long a request took.
func (s *Scheduler) Observe(bytes int64, took time.Duration) { s.observe(bytes, took) }
