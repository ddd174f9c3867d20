package flightsrv

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/hubflight/hubflight/source"
)

func TestEveryKindHasACode(t *testing.T) {
	for k := source.KindInvalid; k <= source.KindInternal; k++ {
		code, ok := codeOf[k]
		if !ok || code == codes.OK {
			t.Errorf("%s has no code", k)
		}
		// pyarrow shows these two as the user's own ValueError.
		if later := k == source.KindBusy || k == source.KindUpstream; later != (code == codes.Unavailable) {
			t.Errorf("%s is %v: UNAVAILABLE is for what may succeed later, and only for that", k, code)
		}
	}
}

func TestAnErrorFitsIntoTheTrailers(t *testing.T) {
	for name, text := range map[string]string{
		"ascii":     strings.Repeat("column, ", 5000),
		"non-ascii": strings.Repeat("спалта, ", 5000),
		"percent":   strings.Repeat("%", 50_000),
	} {
		st := toStatus("plan", source.Errorf(source.KindInvalid, "plan", "%s", text), "req")
		raw, err := proto.Marshal(st.Proto())
		if err != nil {
			t.Fatal(err)
		}
		size := base64.StdEncoding.EncodedLen(len(raw))
		for _, b := range []byte(st.Message()) { // as gRPC writes grpc-message
			size++
			if b < ' ' || b > '~' || b == '%' {
				size += 2
			}
		}
		if size > 7600 || size < 3000 {
			t.Errorf("%s: the trailers take %d bytes", name, size)
		}
		if !strings.HasPrefix(st.Message(), "[invalid] plan: ") || !strings.HasSuffix(st.Message(), "… (request req)") {
			t.Errorf("%s: %.40s … %s", name, st.Message(), st.Message()[len(st.Message())-30:])
		}
	}
}

func TestATextThatIsNotUTF8KeepsItsDetails(t *testing.T) {
	st := toStatus("plan", source.Errorf(source.KindInvalid, "plan", "%s", "data/caf\xe9.parquet"), "req")
	if _, err := proto.Marshal(st.Proto()); err != nil {
		t.Fatal(err)
	}
	if got := st.Message(); got != "[invalid] plan: data/caf\uFFFD.parquet (request req)" || len(st.Details()) != 1 {
		t.Errorf("got %s with %v", got, st.Details())
	}
}

func TestAnInternalErrorShowsOnlyItsRequest(t *testing.T) {
	st := toStatus("read", errors.New("secret path /srv/x"), "req-1")
	if got := st.Message(); got != "[internal] read: internal error (request req-1)" {
		t.Errorf("got %s", got)
	}
}
