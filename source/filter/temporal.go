package filter

import (
	"fmt"
	"strings"
	"time"
)

const (
	secondsPerDay = 24 * 60 * 60
	nanosPerDay   = secondsPerDay * int64(time.Second)
)

// parseDate reads YYYY-MM-DD. Years are 0000 to 9999.
func parseDate(text string) (Literal, error) {
	day, rest, ok := cutDate(text)
	if !ok || rest != "" {
		return Literal{}, fmt.Errorf("%q is not a date (expected YYYY-MM-DD)", clip(text))
	}
	return Literal{kind: litDate, sec: day.Unix() / secondsPerDay}, nil
}

// parseTimestamp reads YYYY-MM-DDThh:mm:ss[.fraction][Z|±hh:mm]. The loose form
// is what a plain string may hold beside it, as pyarrow's own reading of ISO
// 8601: a date alone, a space for the T, no seconds.
func parseTimestamp(text string, loose bool) (Literal, error) {
	bad := func() (Literal, error) {
		return Literal{}, fmt.Errorf("%q is not a timestamp (expected YYYY-MM-DDThh:mm:ss[.fraction][Z|±hh:mm])", clip(text))
	}
	day, rest, ok := cutDate(text)
	if !ok {
		return bad()
	}
	lit := Literal{kind: litTimestamp, sec: day.Unix()}
	if rest == "" {
		if !loose {
			return bad()
		}
		return lit, nil
	}
	if rest[0] != 'T' && !(loose && rest[0] == ' ') {
		return bad()
	}
	clock, offset := rest[1:], ""
	if i := strings.IndexAny(clock, "Z+-"); i >= 0 {
		clock, offset, lit.zoned = clock[:i], clock[i:], true
	}
	if loose && len(clock) == len("hh:mm") {
		clock += ":00"
	}
	nanos, ok := parseClock(clock)
	if !ok {
		return bad()
	}
	lit.sec += nanos / int64(time.Second)
	lit.nanos = nanos % int64(time.Second)
	if lit.zoned {
		seconds, ok := parseOffset(offset)
		if !ok {
			return bad()
		}
		lit.sec -= seconds
		if year := time.Unix(lit.sec, 0).UTC().Year(); year < 0 || year > 9999 {
			return Literal{}, fmt.Errorf("timestamp %q is outside the years 0000 to 9999 in UTC", clip(text))
		}
	}
	return lit, nil
}

// parseTime reads hh:mm:ss[.fraction], 00:00:00 to 23:59:59.999999999.
func parseTime(text string) (Literal, error) {
	nanos, ok := parseClock(text)
	if !ok {
		return Literal{}, fmt.Errorf("%q is not a time of day (expected hh:mm:ss[.fraction])", clip(text))
	}
	return Literal{kind: litTime, nanos: nanos}, nil
}

// cutDate takes YYYY-MM-DD from the front of a text.
func cutDate(text string) (day time.Time, rest string, ok bool) {
	const layout = "YYYY-MM-DD"
	if len(text) < len(layout) || text[4] != '-' || text[7] != '-' {
		return time.Time{}, "", false
	}
	year, ok1 := digits(text[0:4])
	month, ok2 := digits(text[5:7])
	dom, ok3 := digits(text[8:10])
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || dom < 1 {
		return time.Time{}, "", false
	}
	day = time.Date(year, time.Month(month), dom, 0, 0, 0, 0, time.UTC)
	// time.Date turns 30 February into March; that is not what was written.
	return day, text[len(layout):], day.Day() == dom
}

// parseClock reads hh:mm:ss[.1 to 9 digits] as nanoseconds since midnight.
func parseClock(text string) (nanos int64, ok bool) {
	if len(text) < 8 || text[2] != ':' || text[5] != ':' {
		return 0, false
	}
	hour, ok1 := digits(text[0:2])
	minute, ok2 := digits(text[3:5])
	second, ok3 := digits(text[6:8])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	nanos = int64((hour*60+minute)*60+second) * int64(time.Second)
	fraction := text[8:]
	if fraction == "" {
		return nanos, true
	}
	if fraction[0] != '.' || len(fraction) == 1 || len(fraction) > 10 {
		return 0, false
	}
	n, ok := digits(fraction[1:])
	for range 10 - len(fraction) {
		n *= 10
	}
	return nanos + int64(n), ok
}

// parseOffset reads Z or ±hh:mm as seconds east of UTC.
func parseOffset(text string) (seconds int64, ok bool) {
	if text == "Z" {
		return 0, true
	}
	if len(text) != 6 || text[0] == 'Z' || text[3] != ':' {
		return 0, false
	}
	hour, ok1 := digits(text[1:3])
	minute, ok2 := digits(text[4:6])
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, false
	}
	seconds = int64(hour*60+minute) * 60
	if text[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

// digits reads up to 9 decimal digits and nothing else.
func digits(text string) (n int, ok bool) {
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func formatDate(days int64) string {
	return time.Unix(days*secondsPerDay, 0).UTC().Format("2006-01-02")
}

func formatTimestamp(l Literal) string {
	text := time.Unix(l.sec, l.nanos).UTC().Format("2006-01-02T15:04:05.999999999")
	if l.zoned {
		text += "Z"
	}
	return text
}

func formatTime(nanos int64) string {
	return time.Unix(0, nanos).UTC().Format("15:04:05.999999999")
}
