package bench.expert;

import bench.Cut;
import bench.IntensityTable;
import bench.Seen;
import bench.Sums;
import bench.Tick;
import bench.flink.Count;
import bench.flink.Piece;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.util.OutputTag;

/**
 * Takes each tick once, cuts and prices it, and adds it to the sum of its run and window. The sums go on before each watermark and
 * each checkpoint, and after 100 ms at the latest, so that downstream nothing is late that was not, and nothing is lost.
 *
 * <p>A collector's ticks are all in one partition, so no shuffle is needed to know the repeats. The numbers seen are union state: after
 * a rescale every instance knows all of them, whichever partitions it reads.
 */
public class PieceSums extends AbstractStreamOperator<Piece> implements OneInputStreamOperator<Tick, Piece> {
    public static final OutputTag<Count> COUNTED = new OutputTag<>("counted") {};
    private static final long LONGEST_MS = 100;

    private final IntensityTable intensities;
    private transient ListState<Tuple2<String, Seen>> saved;
    private transient Map<String, Seen> seen;
    private transient Map<String, Map<Long, Piece>> open;
    private transient Sums sums;
    private transient long dead;
    private transient long duplicates;
    private transient boolean timed;

    public PieceSums(IntensityTable intensities) {
        this.intensities = intensities;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        var type = TypeInformation.of(new TypeHint<Tuple2<String, Seen>>() {});
        saved = context.getOperatorStateStore().getUnionListState(new ListStateDescriptor<>("seen", type));
        seen = new HashMap<>();
        for (Tuple2<String, Seen> one : saved.get()) {
            // Copies from before a rescale: the one that read on knows more.
            seen.merge(one.f0, one.f1, (a, b) -> a.newest >= b.newest ? a : b);
        }
        open = new HashMap<>();
        sums = new Sums();
    }

    @Override
    public void processElement(StreamRecord<Tick> record) {
        Tick tick = record.getValue();
        if (tick.isDead()) {
            dead++;
        } else if (seen.computeIfAbsent(tick.collector, collector -> new Seen()).add(tick.seq)) {
            Map<Long, Piece> pieces = open.computeIfAbsent(tick.run, run -> new HashMap<>());
            Cut.pieces(tick, sums, (window, piece) -> {
                piece.price(intensities.at(tick.zone, window));
                pieces.computeIfAbsent(window, at -> piece(tick.run, at)).sums.add(piece);
            });
        } else {
            duplicates++;
        }
        if (!timed) {
            timed = true;
            var clock = getProcessingTimeService();
            clock.registerTimer(clock.getCurrentProcessingTime() + LONGEST_MS, now -> flush());
        }
    }

    private static Piece piece(String run, long window) {
        Piece piece = new Piece();
        piece.run = run;
        piece.window = window;
        return piece;
    }

    private void flush() {
        timed = false;
        for (Map<Long, Piece> pieces : open.values()) {
            pieces.values().forEach(piece -> output.collect(new StreamRecord<>(piece)));
            pieces.clear();
        }
        dead = count("dead", dead);
        duplicates = count("duplicate", duplicates);
    }

    private long count(String name, long number) {
        if (number > 0) {
            output.collect(COUNTED, new StreamRecord<>(new Count(name, number)));
        }
        return 0;
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        flush();
        super.processWatermark(mark);
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpoint) {
        flush();
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        saved.clear();
        for (Map.Entry<String, Seen> one : seen.entrySet()) {
            saved.add(Tuple2.of(one.getKey(), one.getValue()));
        }
    }

    @Override
    public void finish() throws Exception {
        flush();
        super.finish();
    }
}
