# latency.gp -- percentiles of send to receive against the rate.

set terminal svg size 800,450 background rgb "white" font "sans,13"
set output "latency.svg"
set datafile separator tab
set key top left
set grid
set logscale xy
set autoscale xfix
set xlabel "messages a second"
set ylabel "send to receive, ms"
set xtics (500, 1000, 2000, 5000, 10000, 20000, 50000)
plot "latency.tsv" using 1:5 with linespoints lw 2 title "p99.9", \
     "" using 1:4 with linespoints lw 2 title "p99", \
     "" using 1:3 with linespoints lw 2 title "p90", \
     "" using 1:2 with linespoints lw 2 title "p50", \
     50 with lines dashtype 2 lc rgb "gray40" title "50 ms"
