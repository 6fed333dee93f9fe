package bench;

/** Windows, and energy cut at their edges. */
public final class Cut {
    public static final long FIVE_S = 5_000_000;
    public static final long FIVE_MIN = 300_000_000;

    private Cut() {}

    /** Start of the window of this size that holds the instant. */
    public static long window(long instant, long size) {
        return Math.floorDiv(instant, size) * size;
    }

    /**
     * floor(energy * part / whole), exactly, for 0 <= part <= whole < 3,000 s and 0 <= energy < 2^53.
     * Quotient and remainder apart: the product itself would not fit 64 bits, the remainder's does.
     */
    public static long before(long energy, long part, long whole) {
        return energy / whole * part + energy % whole * part / whole;
    }

    /** Takes the pieces of a tick, window by window; the sums are only lent. */
    public interface Pieces {
        void take(long window, Sums sums);
    }

    /** A tick's devices summed per 5-s window. Each device is cut on its own, so that every floor is exact. */
    public static void pieces(Tick tick, Sums sums, Pieces pieces) {
        long whole = tick.end - tick.start;
        for (long window = window(tick.start, FIVE_S); window < tick.end; window += FIVE_S) {
            long from = Math.max(window - tick.start, 0);
            long to = Math.min(window + FIVE_S - tick.start, whole);
            sums.clear();
            sums.ticks = from == 0 ? 1 : 0;
            for (int i = 0; i < tick.devices; i++) {
                long energy = tick.energy[i];
                if (to - from < whole) {
                    energy = before(energy, to, whole) - before(energy, from, whole);
                }
                sums.add(tick.kind[i], tick.method[i], energy);
            }
            pieces.take(window, sums);
        }
    }
}
