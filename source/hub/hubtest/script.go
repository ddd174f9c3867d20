package hubtest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// Script is a list of faults. Its text has one per line, and # begins a comment:
//
//	ORIGIN METHOD PATH WHICH: DO
//	cdn    GET    *    #3:    cut 1000
//	any    any    /api/ 5%/7: after status 503 Retry-After="1" "try later"
//
// WHICH is #N for the N-th matching request, every, or a share and a seed. DO is
// [delay TIME] [after] and one of the misbehaviours with its number, reset,
// stall TIME, cut BYTES [stall TIME], status CODE [Name="value" …] ["body"], or,
// with a delay, nothing.
type Script []Fault

// String is the text that ParseScript reads.
func (s Script) String() string {
	var b strings.Builder
	for _, f := range s {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// String is the fault as a script's line.
func (f Fault) String() string {
	which := "every"
	switch {
	case f.Nth > 0:
		which = fmt.Sprintf("#%d", f.Nth)
	case f.Share > 0:
		which = strconv.FormatFloat(100*f.Share, 'g', -1, 64) + "%/" + strconv.FormatUint(f.Seed, 10)
	}
	return fmt.Sprintf("%s %s %s %s: %s", orElse(f.Origin, "any"), orElse(f.Method, "any"), orElse(f.Path, "*"), which, strings.Join(f.does(), " "))
}

func orElse(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func (f Fault) does() []string {
	var words []string
	if f.Delay > 0 {
		words = append(words, "delay", f.Delay.String())
	}
	if f.After {
		words = append(words, "after")
	}
	switch {
	case f.Do != 0 && f.Do.numbered():
		words = append(words, f.Do.String(), strconv.FormatInt(f.N, 10))
	case f.Do != 0:
		words = append(words, f.Do.String())
	case f.Reset:
		words = append(words, "reset")
	case f.CutAfter > 0:
		words = append(words, "cut", strconv.FormatInt(f.CutAfter, 10))
		if f.Stall > 0 {
			words = append(words, "stall", f.Stall.String())
		}
	case f.Stall > 0:
		words = append(words, "stall", f.Stall.String())
	case f.Status > 0:
		words = append(words, "status", strconv.Itoa(f.Status))
		for _, name := range slices.Sorted(mapKeys(f.Header)) {
			for _, value := range f.Header[name] {
				words = append(words, name+"="+strconv.Quote(value))
			}
		}
		if f.Body != "" {
			words = append(words, strconv.Quote(f.Body))
		}
	case f.Delay == 0 || f.After:
		words = append(words, "reset")
	}
	return words
}

func mapKeys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

const (
	maxScript = 1 << 20
	maxFaults = 10_000
)

// ParseScript reads a script's text, at most 1 MiB. Errors name the line.
func ParseScript(text string) (Script, error) {
	if len(text) > maxScript {
		return nil, source.Errorf(source.KindLimit, "fault script", "it is longer than %d bytes", maxScript)
	}
	var s Script
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f, err := ParseFault(line)
		if err == nil && len(s) == maxFaults {
			err = fmt.Errorf("more than %d faults", maxFaults)
		}
		if err != nil {
			return nil, source.Errorf(source.KindInvalid, "fault script", "line %d: %w", n, err)
		}
		s = append(s, f)
	}
	return s, nil
}

// ParseFault reads one line of a script.
func ParseFault(line string) (Fault, error) {
	left, right, ok := strings.Cut(line, ": ")
	match := strings.Fields(left)
	if !ok || len(match) != 4 {
		return Fault{}, fmt.Errorf("%.200q is not %q", line, "ORIGIN METHOD PATH WHICH: DO")
	}
	f := Fault{Origin: orAny(match[0]), Method: orAny(match[1]), Path: orAny(match[2])}
	switch f.Origin {
	case "", originHub, originCDN, originViewer:
	default:
		return f, fmt.Errorf("%.40q is no origin: any, hub, cdn or viewer", f.Origin)
	}
	if err := f.readWhich(match[3]); err != nil {
		return f, err
	}
	return f, f.readDo(words(right))
}

func orAny(s string) string {
	if s == "any" || s == "*" {
		return ""
	}
	return s
}

func (f *Fault) readWhich(text string) error {
	var err error
	nth, numbered := strings.CutPrefix(text, "#")
	share, seed, shared := strings.Cut(text, "%/")
	switch {
	case text == "every":
	case numbered:
		if f.Nth, err = strconv.Atoi(nth); err == nil && f.Nth < 1 {
			err = fmt.Errorf("requests are counted from 1")
		}
	case shared:
		if f.Share, err = strconv.ParseFloat(share, 64); err == nil {
			f.Share /= 100
			f.Seed, err = strconv.ParseUint(seed, 10, 64)
		}
		if err == nil && !(f.Share > 0 && f.Share <= 1) {
			err = fmt.Errorf("a share is above 0%% and at most 100%%")
		}
	default:
		err = fmt.Errorf("it is not every, #N or P%%/SEED")
	}
	if err != nil {
		return fmt.Errorf("which requests, %.40q: %w", text, err)
	}
	return nil
}

// words divides at spaces outside of quotes.
func words(text string) []string {
	var out []string
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		end := 0
		for end < len(text) && text[end] != ' ' && text[end] != '\t' {
			if text[end] == '"' {
				if quoted, err := strconv.QuotedPrefix(text[end:]); err == nil {
					end += len(quoted)
					continue
				}
			}
			end++
		}
		out = append(out, text[:end])
		text = text[end:]
	}
	return out
}

func (f *Fault) readDo(do []string) error {
	in := &wordReader{rest: do}
	if in.take("delay") {
		f.Delay = in.duration()
	}
	f.After = in.take("after")
	switch verb := in.next(); verb {
	case "":
		if f.Delay == 0 || f.After {
			in.fail("there is nothing to do")
		}
	case "reset":
		f.Reset = true
	case "stall":
		f.Stall = in.duration()
	case "cut":
		f.CutAfter = in.number(1)
		if in.take("stall") {
			f.Stall = in.duration()
		}
	case "status":
		f.Status = int(in.number(100))
		f.Header, f.Body = in.message()
	default:
		var ok bool
		if f.Do, ok = ParseMisbehaviour(verb); !ok {
			in.fail("%.40q is nothing that can be done", verb)
		} else if f.Do.numbered() {
			f.N = in.number(minInt)
		}
	}
	if len(in.rest) > 0 {
		in.fail("%.40q is too much", in.rest[0])
	}
	return in.err
}

const minInt = -1 << 62

// wordReader takes words off a line and keeps the first error.
type wordReader struct {
	rest []string
	err  error
}

func (w *wordReader) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *wordReader) next() string {
	if len(w.rest) == 0 {
		return ""
	}
	word := w.rest[0]
	w.rest = w.rest[1:]
	return word
}

func (w *wordReader) take(word string) bool {
	if len(w.rest) == 0 || w.rest[0] != word {
		return false
	}
	w.rest = w.rest[1:]
	return true
}

func (w *wordReader) duration() time.Duration {
	text := w.next()
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		w.fail("%.40q is no time such as 50ms", text)
	}
	return d
}

func (w *wordReader) number(least int64) int64 {
	text := w.next()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least {
		w.fail("%.40q is no number that fits here", text)
	}
	return n
}

// message reads headers and a body.
func (w *wordReader) message() (http.Header, string) {
	var head http.Header
	for len(w.rest) > 0 {
		word := w.next()
		name, quoted, isHeader := strings.Cut(word, "=")
		if strings.HasPrefix(word, `"`) {
			name, quoted, isHeader = "", word, false
		}
		value, err := strconv.Unquote(quoted)
		switch {
		case err != nil:
			w.fail(`%.40q is neither Name="value" nor "body"`, word)
		case !isHeader:
			return head, value
		default:
			if head == nil {
				head = http.Header{}
			}
			head[http.CanonicalHeaderKey(name)] = append(head[http.CanonicalHeaderKey(name)], value)
		}
	}
	return head, ""
}

// Detectable are faults that a careful client either survives or reports: they
// never give it wrong bytes that look right.
func Detectable() Script {
	return Script{
		{Status: http.StatusInternalServerError}, {Status: http.StatusBadGateway}, {Do: SlowDown}, {Do: GatewayTimeout},
		{Do: RateLimited, N: 1}, {Do: QuotaExceeded, N: 1}, {Do: TooMany},
		{Reset: true}, {Reset: true, After: true}, {CutAfter: 100}, {Do: EndAfter, N: 10},
		{Do: Lengthen, N: 9}, {Do: Shorten, N: 1}, {Do: IgnoreRange}, {Do: ShiftRange, N: 7}, {Do: DropContentRange}, {Do: WrongTotal, N: 1},
		{Do: Unsatisfiable}, {Do: WrongETag}, {Do: GzipUnasked}, {Do: Garbage}, {Do: Expire}, {Do: Tamper},
	}
}

// RandomScript makes n faults of a seed: each strikes one of the first hundred
// requests, in one of the given ways. Without ways it is those of Detectable.
func RandomScript(seed uint64, n int, ways ...Fault) Script {
	if len(ways) == 0 {
		ways = Detectable()
	}
	random := rand.New(rand.NewPCG(seed, 1))
	s := make(Script, n)
	for i := range s {
		s[i] = ways[random.IntN(len(ways))]
		s[i].Nth = 1 + random.IntN(100)
	}
	return s
}

// Run arms the faults of a script, in its order.
func (h *Hub) Run(s Script) []*Armed {
	armed := make([]*Armed, len(s))
	for i, f := range s {
		armed[i] = h.Fault(f)
	}
	return armed
}
