# cpu.gp -- CPU of each process for a message against the rate, stacked.

set terminal svg size 800,450 background rgb "white" font "sans,13"
set output "cpu.svg"
set datafile separator tab
set key outside right top reverse Left invert
set grid ytics
set style data histograms
set style histogram rowstacked
set style fill solid 0.85 border rgb "white"
set boxwidth 0.75
set xlabel "messages a second"
set ylabel "us of CPU for a message"
stats "cpu.tsv" skip 3 nooutput
plot for [i = 2:STATS_columns] "cpu.tsv" using i:xtic(1) \
     title columnheader(i)
