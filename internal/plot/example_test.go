package plot_test

import (
	"fmt"

	"github.com/etcdkit/etcdkit/internal/plot"
)

func ExampleTerminal() {
	fmt.Print(plot.Terminal(48, 4, plot.Chart{
		Title: "a counter", XLabel: "seconds", Steps: true,
		Series: []plot.Series{{Name: "counter", Points: []plot.Point{
			{X: 0, Y: 0}, {X: 1, Y: 1}, {X: 2, Y: 2}, {X: 3, Y: 1}, {X: 5, Y: 4}, {X: 6, Y: 3},
		}}},
	}))
	// Output:
	// a counter
	//   4┤                                   ╭──────╮
	//   3┤                                   │      ╰
	//   2┤              ╭──────╮             │
	//   1┤       ╭──────╯      ╰─────────────╯
	//   0┼───────╯
	//    └┬──────┬──────┬───────┬──────┬──────┬──────┬
	//     0      1      2       3      4      5      6
	//                       seconds
}
