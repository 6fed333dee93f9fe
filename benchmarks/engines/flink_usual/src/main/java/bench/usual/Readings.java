package bench.usual;

import bench.Cut;
import bench.Intensity;
import bench.IntensityTable;
import bench.Seen;
import bench.Tick;
import bench.flink.Count;
import bench.flink.Piece;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.co.KeyedBroadcastProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/** Each tick once, as priced readings: one record a device and 5-s window. */
public class Readings extends KeyedBroadcastProcessFunction<String, Tick, Intensity, Piece> {
    public static final OutputTag<Count> DUPLICATE = new OutputTag<>("duplicate") {};
    /** One entry: Flink hands out broadcast state for reading at the price of a look-up. */
    public static final MapStateDescriptor<Integer, IntensityTable> INTENSITIES =
            new MapStateDescriptor<>("intensities", Integer.class, IntensityTable.class);

    private final long intensityRecords;
    private transient ValueState<Seen> seen;
    private transient ListState<Tick> waiting;

    /** Until so many intensities are there, ticks wait: an estimate may be followed by the actual value. */
    public Readings(long intensityRecords) {
        this.intensityRecords = intensityRecords;
    }

    @Override
    public void open(OpenContext context) {
        seen = getRuntimeContext().getState(new ValueStateDescriptor<>("seen", Seen.class));
        waiting = getRuntimeContext().getListState(new ListStateDescriptor<>("waiting", Tick.class));
    }

    @Override
    public void processBroadcastElement(Intensity intensity, Context context, Collector<Piece> pieces)
            throws Exception {
        var state = context.getBroadcastState(INTENSITIES);
        IntensityTable table = state.contains(0) ? state.get(0) : new IntensityTable();
        table.add(intensity);
        state.put(0, table);
    }

    @Override
    public void processElement(Tick tick, ReadOnlyContext context, Collector<Piece> pieces) throws Exception {
        Seen numbers = seen.value();
        if (numbers == null) {
            numbers = new Seen();
        }
        boolean first = numbers.add(tick.seq);
        seen.update(numbers);
        IntensityTable table = context.getBroadcastState(INTENSITIES).get(0);
        if (!first) {
            context.output(DUPLICATE, new Count("duplicate", 1));
        } else if (isComplete(table)) {
            explode(tick, table, pieces);
        } else {
            waiting.add(tick);
            // Timers of event time fire before the watermark goes on, so what waits does not become late by it.
            context.timerService().registerEventTimeTimer(context.currentWatermark() + 1);
        }
    }

    @Override
    public void onTimer(long at, OnTimerContext context, Collector<Piece> pieces) throws Exception {
        IntensityTable table = context.getBroadcastState(INTENSITIES).get(0);
        if (!isComplete(table)) {
            context.timerService().registerEventTimeTimer(context.currentWatermark() + 1);
            return;
        }
        for (Tick tick : waiting.get()) {
            explode(tick, table, pieces);
        }
        waiting.clear();
    }

    private boolean isComplete(IntensityTable table) {
        return intensityRecords == 0 || table != null && table.records >= intensityRecords;
    }

    private static void explode(Tick tick, IntensityTable table, Collector<Piece> pieces) {
        long whole = tick.end - tick.start;
        for (int i = 0; i < tick.devices; i++) {
            for (long window = Cut.window(tick.start, Cut.FIVE_S); window < tick.end; window += Cut.FIVE_S) {
                long from = Math.max(window - tick.start, 0);
                long to = Math.min(window + Cut.FIVE_S - tick.start, whole);
                Piece piece = new Piece();
                piece.run = tick.run;
                piece.window = window;
                long energy = Cut.before(tick.energy[i], to, whole) - Cut.before(tick.energy[i], from, whole);
                piece.sums.add(tick.kind[i], tick.method[i], energy);
                piece.sums.price(table.at(tick.zone, window));
                piece.sums.ticks = i == 0 && from == 0 ? 1 : 0;
                pieces.collect(piece);
            }
        }
    }
}
