package hub

import (
	"net/netip"
	"net/url"
	"testing"
)

func ep(t *testing.T, o Options) endpoint {
	t.Helper()
	e, err := newEndpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAddressesAreEscapedSoThatASegmentStaysASegment(t *testing.T) {
	d := &Dataset{client: &Client{endpoint: ep(t, Options{Endpoint: "http://host:1/hf"})}, repo: "ns/name"}
	for got, want := range map[*url.URL]string{
		d.api("revision", "refs/convert/parquet"):                                "http://host:1/hf/api/datasets/ns/name/revision/refs%2Fconvert%2Fparquet",
		d.api("tree", "refs/pr/1", "data/sub dir"):                               "http://host:1/hf/api/datasets/ns/name/tree/refs%2Fpr%2F1/data%2Fsub%20dir",
		d.api("commit", "my/branch"):                                             "http://host:1/hf/api/datasets/ns/name/commit/my%2Fbranch",
		d.client.endpoint.resolve("ns/name", "my/branch", "data/x y%#?.parquet"): "http://host:1/hf/datasets/ns/name/resolve/my%2Fbranch/data/x%20y%25%23%3F.parquet",
		d.client.endpoint.resolve("name", "main", "ü+&=;,@$!*'().txt"):           "http://host:1/hf/datasets/name/resolve/main/%C3%BC%2B%26%3D%3B%2C%40%24%21%2A%27%28%29.txt",
	} {
		if got.String() != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if again, err := url.Parse(got.String()); err != nil || again.String() != want {
			t.Errorf("%s does not survive parsing: %v", want, err)
		}
	}
}

func TestLinksToTheHubsOwnNameMeanTheEndpoint(t *testing.T) {
	e := ep(t, Options{Endpoint: "http://proxy:1/hf"})
	for link, want := range map[string]string{
		"https://huggingface.co/api/complete?x=1": "http://proxy:1/hf/api/complete?x=1",
		"https://hub-ci.huggingface.co/a":         "http://proxy:1/hf/a",
		"https://huggingface.co":                  "http://proxy:1/hf",
		"https://huggingface.co.evil.example/a":   "https://huggingface.co.evil.example/a",
		"https://huggingface.co@evil.example/a":   "https://huggingface.co@evil.example/a",
		"https://cdn-lfs.huggingface.co/a":        "https://cdn-lfs.huggingface.co/a",
	} {
		if got := e.rewrite(link); got != want {
			t.Errorf("%s: got %s, want %s", link, got, want)
		}
	}
}

func TestATokenIsBoundToSchemeHostAndPort(t *testing.T) {
	e := ep(t, Options{Endpoint: "https://huggingface.co", ViewerEndpoint: "https://datasets-server.huggingface.co"})
	for text, want := range map[string]bool{
		"https://huggingface.co/x": true, "https://HuggingFace.co:443/x": true, "https://datasets-server.huggingface.co/x": true,
		"http://huggingface.co/x": false, "https://huggingface.co:8443/x": false, "https://cdn.huggingface.co/x": false,
		"https://hf.co/x": false, "https://huggingface.co.evil.example/": false, "https://huggingface.co./x": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.maySign(u); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestLinksLeadIntoPrivateNetworksOnlyFromThere(t *testing.T) {
	public := ep(t, Options{Endpoint: "https://huggingface.co"})
	private := ep(t, Options{Endpoint: "http://127.0.0.1:8080"})
	for _, host := range []string{
		"127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "10.1.2.3", "172.16.0.1", "192.168.1.1",
		"100.64.0.1", "[fc00::1]", "[fd12::1]", "[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "198.18.0.1",
	} {
		if _, err := public.link(nil, "https://"+host+"/x"); err == nil {
			t.Errorf("%s was allowed from a public endpoint", host)
		}
		if _, err := private.link(nil, "https://"+host+"/x"); err != nil {
			t.Errorf("%s was refused from a private endpoint: %v", host, err)
		}
	}
	for _, host := range []string{
		"169.254.169.254", "[fe80::1]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "0.0.0.0", "0.1.2.3", "[::]", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		"[ff02::1]", "[2002:a9fe:a9fe::1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2001:0:1::1]", "[::ffff:169.254.169.254]", "192.0.2.1",
	} {
		for _, e := range []endpoint{public, private} {
			if _, err := e.link(nil, "https://"+host+"/x"); err == nil {
				t.Errorf("%s was allowed", host)
			}
		}
	}
	for _, host := range []string{"cas-bridge.xethub.hf.co", "8.8.8.8", "[2606:4700::1111]"} {
		if _, err := public.link(nil, "https://"+host+"/x"); err != nil {
			t.Errorf("%s was refused: %v", host, err)
		}
	}
	if _, err := public.link(nil, "http://cdn.example/x"); err == nil {
		t.Error("a step down to http was allowed")
	}
}

func TestADialledAddressIsCheckedWhateverItsName(t *testing.T) {
	// A name that resolves to loopback, dialled on behalf of a public endpoint.
	g := guardedDialer{trusted: map[string]bool{"hub.example:443": true}}
	if conn, err := g.DialContext(t.Context(), "tcp", "localhost:1"); err == nil {
		conn.Close()
		t.Fatal("a private address was dialled")
	} else if passingError(err) {
		t.Errorf("the refusal would be tried again: %v", err)
	}
	for _, ip := range []string{"127.0.0.1", "::1", "::7f00:1"} {
		if checkAddr(netip.MustParseAddr(ip), false) == nil {
			t.Errorf("%s was allowed", ip)
		}
	}
}

func TestAProxyIsDialledWhereverItIs(t *testing.T) {
	for proxy, address := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "http://localhost:1": "localhost:1", "socks5://127.0.0.1": "127.0.0.1:1080", "socks5h://127.0.0.1": "127.0.0.1:1080",
	} {
		t.Setenv("HTTPS_PROXY", proxy)
		ep, err := newEndpoint(Options{Endpoint: DefaultEndpoint})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := baseTransport(Options{}, ep).DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		} else if !passingError(err) {
			t.Errorf("%s: %v", proxy, err)
		}
	}
}

func TestEndpointsThatCannotBeMeantAreRefused(t *testing.T) {
	for _, text := range []string{"huggingface.co", "ftp://x", "http://", "http://u:p@x", "http://x?q=1", "http://x#f", "http://[::1"} {
		if _, err := New(Options{Endpoint: text}); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestTheNextPageIsFoundInLinkHeaders(t *testing.T) {
	for header, want := range map[string]string{
		`<http://h/a?cursor=1>; rel="next"`:                      "http://h/a?cursor=1",
		`<http://h/p>; rel="prev", <http://h/n,1;2>; rel="next"`: "http://h/n,1;2",
		`<http://h/n>; title="x"; rel=next`:                      "http://h/n",
		`<http://h/p>; rel="prev"`:                               "",
		`http://h/n; rel="next"`:                                 "",
		``:                                                       "",
		`<http://h/x>; rel="nextish"`:                            "",
		`<http://h/auth>; rel="xet-auth", <http://h/n>; rel="next"; a=b`: "http://h/n",
	} {
		if got := nextLink([]string{header}); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
}
