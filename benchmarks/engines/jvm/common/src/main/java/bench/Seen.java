package bench;

/** Which of a collector's last numbers have come: one bit for each of the newest {@link #KEPT}. */
public class Seen {
    /** The job asks for 1,100. */
    public static final int KEPT = 2_048;

    public long newest = -1;
    public long[] bits = new long[KEPT / 64];

    /** False: it has come before. Numbers older than those kept count as new: they cannot be known. */
    public boolean add(long number) {
        if (number > newest) {
            if (number - newest >= KEPT) {
                java.util.Arrays.fill(bits, 0);
            } else {
                for (long skipped = newest + 1; skipped < number; skipped++) {
                    bits[word(skipped)] &= ~(1L << skipped);
                }
            }
            newest = number;
        } else if (number <= newest - KEPT) {
            return true;
        } else if ((bits[word(number)] & 1L << number) != 0) {
            return false;
        }
        bits[word(number)] |= 1L << number;
        return true;
    }

    private static int word(long number) {
        return (int) (number & KEPT - 1) >>> 6;
    }
}
