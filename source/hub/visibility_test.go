package hub_test

import (
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// TestADatasetIsCreatedAsPrivateAsItIsAskedFor looks at what the Hub keeps and at what a
// stranger sees of it. To create it again, otherwise, changes nothing.
func TestADatasetIsCreatedAsPrivateAsItIsAskedFor(t *testing.T) {
	const stranger = token + "_stranger"
	h := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{token: hubtest.Write, stranger: hubtest.Public}))
	c := client(t, h.HubURL)
	author := source.NewHubToken(token)
	for name, private := range map[string]bool{"org/closed": true, "org/open": false} {
		for i, asked := range []bool{private, !private} {
			if existed, err := c.CreateRepo(t.Context(), author, name, asked); err != nil || existed != (i > 0) {
				t.Fatalf("%s, private %v: existed %v, %v", name, asked, existed, err)
			}
			if settings, err := h.Settings(name); err != nil || settings.Private != private {
				t.Errorf("%s: the Hub keeps %+v, %v", name, settings, err)
			}
		}
		if info, err := c.Dataset(name, author).Info(t.Context(), ""); err != nil || info.Private != private {
			t.Errorf("%s: its author is told %+v, %v", name, info, err)
		}
		_, err := c.Dataset(name, source.NewHubToken(stranger)).Info(t.Context(), "")
		if hidden := source.KindOf(err) == source.KindNotFound; hidden != private || !hidden && err != nil {
			t.Errorf("%s: a stranger is told %v", name, err)
		}
	}
}
