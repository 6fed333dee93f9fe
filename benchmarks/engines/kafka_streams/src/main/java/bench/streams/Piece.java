package bench.streams;

import bench.Sums;

/**
 * What ticks of one partition add to a 5-s window of a run.
 *
 * @param window start, µs; negative: they are late, and count for the run's total only
 * @param clockMs stream time of the partition that they come from
 */
record Piece(long window, int partition, long clockMs, Sums sums) {
    static final long LATE = -1;
}
