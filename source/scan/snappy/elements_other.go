//go:build !amd64 && !arm64

package snappy

// elements decodes all of src into all of dst.
func elements(dst, src []byte) error {
	o, i := 0, 0
	for i < len(src) {
		var ok bool
		if o, i, ok = element(dst, src, o, i); !ok {
			return ErrCorrupt
		}
	}
	if o != len(dst) {
		return ErrCorrupt
	}
	return nil
}

// hurry leaves everything to the careful decoder.
func hurry(_, _ []byte, o, i int) (nextO, nextI int) { return o, i }
