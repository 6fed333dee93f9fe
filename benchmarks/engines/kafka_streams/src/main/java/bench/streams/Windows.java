package bench.streams;

import bench.Cut;
import bench.Sums;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Windows of 5 s and 5 min and the total of each run, in one store by the keys of their rows. Changed rows go out each second. */
class Windows extends ContextualProcessor<String, Piece, String, String> {
    static final String ROWS = "rows";
    private static final String TOTAL = "|total|0";

    private final Progress progress;
    private final Progress.Work work;
    private final long latenessUs;
    private final int[] partitions;
    private final long idleMs;
    private final Set<String> changed = new HashSet<>();
    private final Map<Integer, long[]> clocks = new HashMap<>();
    private KeyValueStore<String, Sums> rows;
    private long closed = Long.MIN_VALUE;

    Windows(Progress progress, long latenessUs, int[] partitions, long idleMs) {
        this.progress = progress;
        this.work = progress.new Work();
        this.latenessUs = latenessUs;
        this.partitions = partitions;
        this.idleMs = idleMs;
    }

    @Override
    public void init(ProcessorContext<String, String> context) {
        super.init(context);
        rows = context.getStateStore(ROWS);
        // After a restart: which rows went out is not known, so all do.
        try (var known = rows.all()) {
            known.forEachRemaining(entry -> changed.add(entry.key));
        }
        // A partition that has sent nothing yet holds the windows open until it counts as idle.
        for (int partition : partitions) {
            clocks.put(partition, new long[] {Long.MIN_VALUE, context.currentSystemTimeMs()});
        }
        context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, this::write);
        context.schedule(Duration.ofSeconds(10), PunctuationType.WALL_CLOCK_TIME, this::close);
    }

    @Override
    public void process(Record<String, Piece> record) {
        Piece piece = record.value();
        String run = record.key();
        clocks.put(piece.partition(), new long[] {piece.clockMs() * 1_000, context().currentSystemTimeMs()});
        if (piece.window() != Piece.LATE) {
            add(run + "|5|" + piece.window(), piece.sums());
            add(run + "|300|" + Cut.window(piece.window(), Cut.FIVE_MIN), piece.sums());
        }
        add(run + TOTAL, piece.sums());
        work.begin();
        progress.arrived();
    }

    private void add(String key, Sums piece) {
        Sums known = rows.get(key);
        if (known == null) {
            known = new Sums();
        }
        known.add(piece);
        rows.put(key, known);
        changed.add(key);
    }

    private void write(long now) {
        for (String key : changed) {
            Sums sums = rows.get(key);
            String json = key.endsWith(TOTAL) ? sums.totalJson() : sums.windowJson();
            context().forward(new Record<>(key, json, now));
        }
        changed.clear();
        work.done();
    }

    /** Forgets windows that have ended for good by the least clock of the partitions that are not idle. */
    private void close(long now) {
        write(now);
        long least = clocks.values().stream()
                .filter(clock -> now - clock[1] < idleMs).mapToLong(clock -> clock[0]).min().orElse(Long.MIN_VALUE);
        if (least <= closed) {
            return;
        }
        closed = least;
        try (var known = rows.all()) {
            while (known.hasNext()) {
                String key = known.next().key;
                String[] words = key.split("\\|");
                if (!key.endsWith(TOTAL)
                        && Long.parseLong(words[2]) + Long.parseLong(words[1]) * 1_000_000 + latenessUs < least) {
                    rows.delete(key);
                }
            }
        }
    }
}
