package bench.streams;

import bench.Cut;
import bench.Row;
import bench.Seen;
import bench.Sums;
import bench.Tick;
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

/**
 * One task a partition: takes each tick once (a collector's ticks are all in one partition), cuts, prices and adds it up per run
 * and window. What has changed goes on every 250 ms, so that the repartition topic gets sums and not ticks.
 */
class Ticks extends ContextualProcessor<String, Tick, String, Object> {
    static final String SEEN = "seen";
    static final String SUMS = "sums";
    static final String COUNTS = "tick-counts";
    private static final long BEHIND_US = 5_000_000;

    private final Progress progress;
    private final Progress.Work work;
    private final long latenessUs;
    private final Sums cut = new Sums();
    /** Keys of what waits in the store of sums. */
    private final Set<String> waiting = new HashSet<>();
    private final Set<String> counted = new HashSet<>();
    /** Prices of zone and 5 minutes; forgotten with each forwarding, since they may be replaced. */
    private final Map<String, Map<Long, Double>> prices = new HashMap<>();
    private KeyValueStore<String, Seen> seen;
    private KeyValueStore<String, Sums> sums;
    private KeyValueStore<String, Long> counts;
    private KeyValueStore<String, byte[]> intensities;

    Ticks(Progress progress, long latenessUs) {
        this.progress = progress;
        this.work = progress.new Work();
        this.latenessUs = latenessUs;
    }

    @Override
    public void init(ProcessorContext<String, Object> context) {
        super.init(context);
        seen = context.getStateStore(SEEN);
        sums = context.getStateStore(SUMS);
        counts = context.getStateStore(COUNTS);
        intensities = context.getStateStore(Intensities.STORE);
        // After a restart: what was added up and not sent on is in the store.
        try (var left = sums.all()) {
            left.forEachRemaining(entry -> waiting.add(entry.key));
        }
        try (var left = counts.all()) {
            left.forEachRemaining(entry -> counted.add(entry.key));
        }
        context.schedule(Duration.ofMillis(250), PunctuationType.WALL_CLOCK_TIME, now -> send(now));
    }

    @Override
    public void process(Record<String, Tick> record) {
        Tick tick = record.value();
        if (tick.isDead()) {
            count("dead");
        } else if (isFirst(tick)) {
            long watermark = context().currentStreamTimeMs() * 1_000 - BEHIND_US;
            Cut.pieces(tick, cut, (window, piece) -> {
                piece.price(price(tick.zone, window));
                boolean late = Cut.window(window, Cut.FIVE_MIN) + Cut.FIVE_MIN + latenessUs <= watermark;
                if (late && piece.ticks > 0) {
                    count("late");
                }
                add(tick.run + "|" + (late ? Piece.LATE : window), piece);
            });
        } else {
            count("duplicate");
        }
        progress.read(context().recordMetadata().orElseThrow());
    }

    private boolean isFirst(Tick tick) {
        Seen numbers = seen.get(tick.collector);
        if (numbers == null) {
            numbers = new Seen();
        }
        boolean first = numbers.add(tick.seq);
        if (first) {
            seen.put(tick.collector, numbers);
        }
        return first;
    }

    private double price(String zone, long window) {
        return prices.computeIfAbsent(zone, name -> new HashMap<>())
                .computeIfAbsent(Cut.window(window, Cut.FIVE_MIN), start ->
                        Intensities.gramsPerKwh(intensities.get(Intensities.key(zone, start))));
    }

    private void add(String key, Sums piece) {
        Sums known = sums.get(key);
        if (known == null) {
            known = new Sums();
            waiting.add(key);
            work.begin();
        }
        known.add(piece);
        sums.put(key, known);
    }

    private void count(String name) {
        Long before = counts.get(name);
        counts.put(name, before == null ? 1 : before + 1);
        counted.add(name);
        work.begin();
    }

    private void send(long now) {
        int partition = context().taskId().partition();
        long clock = context().currentStreamTimeMs();
        for (String key : waiting) {
            int bar = key.lastIndexOf('|');
            long window = Long.parseLong(key.substring(bar + 1));
            Piece piece = new Piece(window, partition, clock, sums.delete(key));
            progress.forwarded();
            context().forward(new Record<>(key.substring(0, bar), piece, Math.max(clock, 0)));
        }
        for (String name : counted) {
            Row row = Row.count(name, counts.get(name));
            context().forward(new Record<>(row.key + "-" + partition, row.value, now));
        }
        waiting.clear();
        counted.clear();
        prices.clear();
        work.done();
    }
}
