package bench.flink;

import bench.Sums;

/** What ticks add to one 5-s window of a run. */
public class Piece {
    public String run = "";
    public long window;
    public Sums sums = new Sums();
}
