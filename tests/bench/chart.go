package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
)

// The drawings are SVG that names no font and takes its colours from the reader's light or dark setting, so that a document may embed them
// as they are.
const chartStyle = `<style>
text{font:13px sans-serif;fill:#24292f}.dim{fill:#57606a}.grid{stroke:#d0d7de}.bar{fill:#0969da}.less{fill:#bc4c00}
.c0{stroke:#0969da;fill:#0969da}.c1{stroke:#bc4c00;fill:#bc4c00}.c2{stroke:#1a7f37;fill:#1a7f37}.c3{stroke:#8250df;fill:#8250df}.line{fill:none;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.grid{stroke:#3d444d}.bar{fill:#4493f8}.less{fill:#f0883e}
.c0{stroke:#4493f8;fill:#4493f8}.c1{stroke:#f0883e;fill:#f0883e}.c2{stroke:#3fb950;fill:#3fb950}.c3{stroke:#ab7df8;fill:#ab7df8}.line{fill:none}}
</style>
`

const (
	chartWidth  = 900
	chartRow    = 24
	chartTop    = 44
	chartBottom = 24
)

// colours is how many classes of lines chartStyle has.
const colours = 4

// bar is one of a chart of ratios.
type bar struct {
	label string
	value float64 // above 0
}

// drawRatios draws bars that begin at 1, on a logarithmic scale: to the right what is more, to the left what is less.
func drawRatios(title string, bars []bar) []byte {
	const left, right = 400, 70
	lowest, highest := 1.0, 2.0
	for _, b := range bars {
		lowest, highest = min(lowest, b.value), max(highest, b.value)
	}
	x := scale(lowest, highest, left, chartWidth-right)
	height := chartTop + len(bars)*chartRow + chartBottom
	b := beginChart(title, height)
	for _, tick := range logTicks(lowest, highest) {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x(tick), x(tick), chartTop-6, height-chartBottom)
		fmt.Fprintf(b, `<text class="dim" text-anchor="middle" x="%.1f" y="%d">%s×</text>`+"\n", x(tick), height-6, short(tick))
	}
	for i, one := range bars {
		y := chartTop + i*chartRow
		class := "bar"
		if one.value < 1 {
			class = "less"
		}
		from, to := min(x(1), x(one.value)), max(x(1), x(one.value))
		fmt.Fprintf(b, `<text text-anchor="end" x="%d" y="%d">%s</text>`+"\n", left-10, y+15, html.EscapeString(one.label))
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", class, from, y+3, max(to-from, 1), chartRow-8)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s×</text>`+"\n", to+6, y+15, digits(one.value))
	}
	return endChart(b)
}

// line is one of a chart of lines; its points go from left to right.
type line struct {
	label  string
	points []point
}

type point struct{ x, y float64 } // above 0

// drawLines draws lines on two logarithmic scales.
func drawLines(title, xTitle, yTitle string, lines []line) []byte {
	const left, right, height = 80, 260, 380
	lowX, highX, lowY, highY := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, l := range lines {
		for _, p := range l.points {
			lowX, highX, lowY, highY = min(lowX, p.x), max(highX, p.x), min(lowY, p.y), max(highY, p.y)
		}
	}
	if highX == 0 {
		lowX, highX, lowY, highY = 1, 10, 1, 10
	}
	lowY, highY = decade(lowY, math.Floor), decade(highY*1.0001, math.Ceil)
	x, y := scale(lowX, max(highX, lowX*1.0001), left, chartWidth-right), scale(lowY, highY, height-chartBottom-24, chartTop)
	b := beginChart(title, height)
	for _, tick := range decades(lowX, highX) {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x(tick), x(tick), chartTop, height-chartBottom-24)
		fmt.Fprintf(b, `<text class="dim" text-anchor="middle" x="%.1f" y="%d">%s</text>`+"\n", x(tick), height-chartBottom-6, short(tick))
	}
	for _, tick := range decades(lowY, highY) {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", left, chartWidth-right, y(tick), y(tick))
		fmt.Fprintf(b, `<text class="dim" text-anchor="end" x="%d" y="%.1f">%s</text>`+"\n", left-8, y(tick)+4, short(tick))
	}
	fmt.Fprintf(b, `<text class="dim" text-anchor="middle" x="%d" y="%d">%s</text>`+"\n", (left+chartWidth-right)/2, height-6, html.EscapeString(xTitle))
	fmt.Fprintf(b, `<text class="dim" x="%d" y="%d">%s</text>`+"\n", 10, chartTop-8, html.EscapeString(yTitle))
	for i, l := range lines {
		class := fmt.Sprint("c", i%colours)
		var path bytes.Buffer
		for _, p := range l.points {
			fmt.Fprintf(&path, "%.1f,%.1f ", x(p.x), y(p.y))
			fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n", class, x(p.x), y(p.y))
		}
		dashes := ""
		if i >= colours {
			dashes = ` stroke-dasharray="5 4"`
		}
		fmt.Fprintf(b, `<polyline class="%s line"%s style="fill:none" points="%s"/>`+"\n", class, dashes, bytes.TrimSpace(path.Bytes()))
		legend := chartTop + 10 + i*20
		fmt.Fprintf(b, `<line class="%s line"%s x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", class, dashes, chartWidth-right+20, chartWidth-right+44, legend, legend)
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", chartWidth-right+50, legend+4, html.EscapeString(l.label))
	}
	return endChart(b)
}

func beginChart(title string, height int) *bytes.Buffer {
	b := &bytes.Buffer{}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(b, "<title>%s</title>\n%s", html.EscapeString(title), chartStyle)
	fmt.Fprintf(b, `<text x="10" y="18" style="font-weight:bold">%s</text>`+"\n", html.EscapeString(title))
	return b
}

func endChart(b *bytes.Buffer) []byte {
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scale maps values between low and high, logarithmically, to places between from and to.
func scale(low, high float64, from, to int) func(float64) float64 {
	return func(v float64) float64 {
		return float64(from) + float64(to-from)*math.Log(v/low)/math.Log(high/low)
	}
}

// logTicks returns 1, 2 and 5 times the powers of ten between low and high.
func logTicks(low, high float64) (ticks []float64) {
	for _, power := range decades(decade(low, math.Floor), high) {
		for _, times := range []float64{1, 2, 5} {
			if v := power * times; v >= low && v <= high {
				ticks = append(ticks, v)
			}
		}
	}
	return slices.Compact(ticks)
}

// decades returns the powers of ten from low to high.
func decades(low, high float64) (powers []float64) {
	for v := decade(low, math.Ceil); v <= high*1.0001; v *= 10 {
		powers = append(powers, v)
	}
	return powers
}

// decade returns the power of ten beside a value.
func decade(v float64, round func(float64) float64) float64 {
	return math.Pow(10, round(math.Round(math.Log10(v)*1e6)/1e6))
}

// short writes a number as labels have it.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + " k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
