package scan

import "sort"

// rows are the rows from … to−1 of a row group.
type rows struct{ from, to int64 }

// addRows appends rows that lie behind all of list; neighbours become one.
func addRows(list []rows, r rows) []rows {
	if r.from >= r.to {
		return list
	}
	if n := len(list); n > 0 && list[n-1].to >= r.from {
		list[n-1].to = max(list[n-1].to, r.to)
		return list
	}
	return append(list, r)
}

// intersect is the rows that are in both of two ascending lists.
func intersect(a, b []rows) []rows {
	var out []rows
	for len(a) > 0 && len(b) > 0 {
		out = addRows(out, rows{max(a[0].from, b[0].from), min(a[0].to, b[0].to)})
		if a[0].to <= b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// unite is the rows that are in one of two ascending lists.
func unite(a, b []rows) []rows {
	var out []rows
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].from <= b[0].from {
			out, a = addRows(out, a[0]), a[1:]
		} else {
			out, b = addRows(out, b[0]), b[1:]
		}
	}
	return out
}

// overlap reports whether an ascending list has some of the rows of r.
func overlap(list []rows, r rows) bool {
	i := sort.Search(len(list), func(i int) bool { return list[i].to > r.from })
	return i < len(list) && list[i].from < r.to
}

func countRows(list []rows) int64 {
	n := int64(0)
	for _, r := range list {
		n += r.to - r.from
	}
	return n
}
