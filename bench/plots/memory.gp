# memory.gp -- memory of all nginx workers against idle connections.

set terminal svg size 800,450 background rgb "white" font "sans,13"
set output "memory.svg"
set datafile separator tab
set key top left
set grid
set xlabel "idle WebSocket connections, logged in"
set ylabel "all nginx workers, MB"
set yrange [0:*]
plot "memory.tsv" using 1:2 with linespoints lw 2 title "resident", \
     "" using 1:3 with linespoints lw 2 title "private"
