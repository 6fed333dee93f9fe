package bench;

import java.util.Arrays;

/** What the job reads of a sample. Fields are public and plain, as Flink wants its POJOs. */
public class Tick {
    /** Run of a sample that names none. */
    public static final String NO_RUN = "~host";

    public String collector = "";
    public long seq;
    public String run = "";
    public String zone = "";
    /** µs since 1970; {@code Long.MIN_VALUE}: a message that cannot be decoded (never moves a watermark). */
    public long start;
    public long end;
    public int devices;
    public int[] kind = new int[16];
    public int[] method = new int[16];
    public long[] energy = new long[16];

    public boolean isDead() {
        return end == Long.MIN_VALUE;
    }

    public void setDead() {
        start = end = Long.MIN_VALUE;
        devices = 0;
    }

    void room(int count) {
        devices = count;
        if (count > kind.length) {
            kind = Arrays.copyOf(kind, count);
            method = Arrays.copyOf(method, count);
            energy = Arrays.copyOf(energy, count);
        }
    }
}
