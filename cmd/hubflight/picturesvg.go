package main

import (
	"bufio"
	"fmt"
	"html"
	"io"

	"github.com/hubflight/hubflight/flightsrv/client"
)

// Sizes of an SVG picture in pixels.
const (
	svgCell    = 14
	svgGap     = 3
	svgStep    = svgCell + svgGap
	svgMargin  = 24
	svgLetter  = 7.3 // width of a letter of the small font
	svgName    = 44  // letters of a file's name that are shown
	svgColumns = 48  // row groups of one line
	svgLegend  = 20
)

// svgStyle has colours that can be told apart in print and by the colour-blind, and
// others for a dark page. Plain rules, because not every viewer knows variables.
const svgStyle = `
text { font: 12px sans-serif }
.head { font-size: 16px; font-weight: 600 }
.mono { font-family: monospace }
.c { stroke-width: 1 }
.limit { stroke-dasharray: 2 2 }
.paper { fill: #ffffff }
text { fill: #1c2733 }
.dim { fill: #667585 }
.c { stroke: #d5dce3 }
.read { fill: #1769aa; stroke: #1769aa }
.empty { fill: #dcebf7; stroke: #1769aa }
.statistics { fill: #e4e8ec }
.bloom { fill: #f2c46d }
.dictionary { fill: #a9d18e }
.pages { fill: #cdb4e3 }
.limit { fill: #ffffff }
.other { fill: #e79a9a }
@media (prefers-color-scheme: dark) {
  .paper { fill: #14191f }
  text { fill: #e3e9ef }
  .dim { fill: #97a5b3 }
  .c { stroke: #3a4550 }
  .read { fill: #58a6e8; stroke: #58a6e8 }
  .empty { fill: #1f3548; stroke: #58a6e8 }
  .statistics { fill: #2a323a }
  .bloom { fill: #9a7426 }
  .dictionary { fill: #4d7a36 }
  .pages { fill: #70538c }
  .limit { fill: #14191f }
  .other { fill: #8c4444 }
}
`

// svgPlan draws what drawPlan draws as an SVG that stands for itself: it loads
// nothing, follows the page's light or dark, and every cell tells more when it is
// pointed at.
type svgPlan struct {
	*bufio.Writer
	names float64 // width of the column of names
	width float64
	y     int
}

// writeSVG draws a plan.
func writeSVG(out io.Writer, dataset string, e *client.Explanation) error {
	letters, columns, lines := 12, 1, 0
	for _, f := range e.Files {
		letters = max(letters, min(len([]rune(f.File)), svgName))
		columns = max(columns, min(len(f.Groups), svgColumns))
		lines += max((len(f.Groups)+svgColumns-1)/svgColumns, 1)
	}
	legend := usedFates(e)
	p := &svgPlan{Writer: bufio.NewWriter(out), names: float64(letters) * svgLetter}
	p.width = max(2*svgMargin+p.names+float64(columns*svgStep)+130, 700)
	height := svgMargin + 80 + lines*svgStep + len(e.Files)*4 + 24 + (len(legend)+1)/2*svgLegend + svgMargin
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" role="img" aria-label="%s">`+"\n",
		p.width, height, p.width, height, html.EscapeString("Row groups that a read of "+dataset+" touches"))
	fmt.Fprintf(p, "<style>%s</style>\n<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n", svgStyle)
	p.heading(dataset, e)
	for _, f := range e.Files {
		p.file(f)
	}
	p.y += 24
	for i, f := range legend {
		x, y := svgMargin+float64(i%2)*(p.width-2*svgMargin)/2, p.y+i/2*svgLegend
		p.cell(x, y, f, "")
		if f.class == "empty" {
			p.fill(x, y, svgCell/2)
		}
		fmt.Fprintf(p, `<text x="%.1f" y="%d">%s</text>`+"\n", x+svgStep+6, y+svgCell-3, html.EscapeString(f.label))
	}
	fmt.Fprintln(p, "</svg>")
	return p.Flush()
}

func (p *svgPlan) heading(dataset string, e *client.Explanation) {
	t := e.Totals
	fmt.Fprintf(p, `<text class="head" x="%d" y="%d">%s</text>`+"\n", svgMargin, svgMargin+14, html.EscapeString(dataset))
	fmt.Fprintf(p, `<text class="dim" x="%d" y="%d">%s</text>`+"\n", svgMargin, svgMargin+36, html.EscapeString(fmt.Sprintf(
		"reads %d of %d row groups in %d of %d files", t.GroupsKept, t.GroupsTotal, t.FilesKept, t.FilesTotal)))
	fmt.Fprintf(p, `<text class="dim" x="%d" y="%d">%s</text>`+"\n", svgMargin, svgMargin+54, html.EscapeString(fmt.Sprintf(
		"at most %s of %s · %d candidate rows", bytesText(t.BytesRead), bytesText(t.BytesTotal), t.Candidates)))
	p.y = svgMargin + 76
}

func (p *svgPlan) file(f client.ExplainedFile) {
	name := []rune(printable(f.File))
	if len(name) > svgName {
		name = append([]rune("…"), name[len(name)-svgName+1:]...)
	}
	fmt.Fprintf(p, `<text class="mono" x="%d" y="%d">%s<title>%s</title></text>`+"\n",
		svgMargin, p.y+svgCell-3, html.EscapeString(string(name)), html.EscapeString(fmt.Sprintf("%s: %d rows, %s", printable(f.File), f.Rows, bytesText(f.Size))))
	left, kept := svgMargin+p.names+12, 0
	for i, g := range f.Groups {
		if i > 0 && i%svgColumns == 0 {
			p.y += svgStep
		}
		if g.Kept {
			kept++
		}
		p.group(left+float64(i%svgColumns*svgStep), g)
	}
	what := fmt.Sprintf("%d of %d", kept, len(f.Groups))
	if len(f.Groups) == 0 {
		what = notLookedAt
	}
	fmt.Fprintf(p, `<text class="dim" x="%.1f" y="%d">%s</text>`+"\n", left+float64(min(len(f.Groups), svgColumns)*svgStep)+6, p.y+svgCell-3, what)
	p.y += svgStep + 4
}

// group draws a row group: one that is read in parts is filled from below.
func (p *svgPlan) group(x float64, g client.ExplainedGroup) {
	title := fmt.Sprintf("row group %d: %s\n%d rows, %s", g.Group, fateOf(g.Layer).label, g.Rows, bytesText(g.Bytes))
	part := share(g.Kept, g.Candidates, g.Rows)
	if g.Kept {
		title = fmt.Sprintf("row group %d: read\n%d of %d rows may match\nat most %s of %s", g.Group, g.Candidates, g.Rows, bytesText(g.Read), bytesText(g.Bytes))
	}
	if !g.Kept || part >= 1 {
		p.cell(x, p.y, fateOf(g.Layer), title)
		return
	}
	p.cell(x, p.y, fate{class: "empty"}, title)
	p.fill(x, p.y, max(part*svgCell, 2))
}

// fill fills a cell from below.
func (p *svgPlan) fill(x float64, y int, height float64) {
	fmt.Fprintf(p, `<rect class="read" x="%.1f" y="%.1f" width="%d" height="%.1f" pointer-events="none"/>`+"\n", x, float64(y+svgCell)-height, svgCell, height)
}

func (p *svgPlan) cell(x float64, y int, f fate, title string) {
	fmt.Fprintf(p, `<rect class="c %s" x="%.1f" y="%d" width="%d" height="%d" rx="2"`, f.class, x, y, svgCell, svgCell)
	if title == "" {
		fmt.Fprintln(p, "/>")
		return
	}
	fmt.Fprintf(p, "><title>%s</title></rect>\n", html.EscapeString(title))
}

// usedFates is the legend: what occurs in the plan.
func usedFates(e *client.Explanation) []fate {
	used, part := map[string]bool{}, false
	for _, f := range e.Files {
		for _, g := range f.Groups {
			used[g.Layer] = true
			part = part || g.Kept && share(true, g.Candidates, g.Rows) < 1
		}
	}
	var out []fate
	for _, f := range occurring(used) {
		out = append(out, f)
		if f.layer == "" && part {
			out = append(out, fate{class: "empty", label: "read in part: as full as rows may match"})
		}
	}
	return out
}
