package source

import "strings"

// Nearest returns the known name that a misspelt one most likely means, the
// first of equally near ones, or "" if none is near: about a third of the
// letters may differ, of a short name fewer. Upper and lower case are alike.
func Nearest(name string, known []string) string {
	name = strings.ToLower(name)
	best, most := "", min(len(name)/3+1, len(name)/2)
	for _, k := range known {
		if d := distance(name, strings.ToLower(k), most); d <= most {
			best, most = k, d-1
		}
	}
	return best
}

// distance is the Levenshtein distance of two names in bytes, or more than most
// if it is that for certain.
func distance(a, b string, most int) int {
	const longest = 64
	if len(a) > longest || len(b) > longest || len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(diagonal+cost, row[j]+1, row[j+1]+1)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
