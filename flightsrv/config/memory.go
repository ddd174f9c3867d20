package config

import (
	"os"
	"strconv"
	"strings"
)

// unknownMemory is assumed where the system does not say how much it has.
const unknownMemory = 8 << 30

// MemoryBudget returns memory.budget with its default filled in: half of the
// container's limit, or of the machine's memory.
func (c Config) MemoryBudget() int64 {
	if c.Memory.Budget > 0 {
		return int64(c.Memory.Budget)
	}
	total := int64(unknownMemory)
	if n, ok := machineMemory("/proc/meminfo"); ok {
		total = n
	}
	if n, ok := containerLimit("/sys/fs/cgroup/memory.max"); ok {
		total = min(total, n)
	}
	return max(total/2, 256<<20)
}

// machineMemory reads "MemTotal:  24611344 kB".
func machineMemory(file string) (int64, bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}

// containerLimit reads a cgroup's memory.max: a number, or "max".
func containerLimit(file string) (int64, bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	return n, err == nil && n > 0
}
