package bench.flink;

import bench.Cut;
import bench.Row;
import bench.Sums;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.TimeDomain;
import org.apache.flink.streaming.api.TimerService;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * The windows of 5 s and 5 min of a run and its total. A row a second while it changes, and one when its window ends for good.
 * One function in place of three window operators: the pieces are shuffled once, and rows come before the windows close.
 */
public class RunWindows extends KeyedProcessFunction<String, Piece, Row> {
    public static final OutputTag<Count> LATE = new OutputTag<>("late") {};

    private final long latenessUs;
    private transient MapState<Long, Sums> fiveSeconds;
    private transient MapState<Long, Sums> fiveMinutes;
    private transient ValueState<Sums> total;

    public RunWindows(long latenessUs) {
        this.latenessUs = latenessUs;
    }

    @Override
    public void open(OpenContext context) {
        fiveSeconds = getRuntimeContext().getMapState(new MapStateDescriptor<>("5s", Long.class, Sums.class));
        fiveMinutes = getRuntimeContext().getMapState(new MapStateDescriptor<>("5min", Long.class, Sums.class));
        total = getRuntimeContext().getState(new ValueStateDescriptor<>("total", Sums.class));
    }

    @Override
    public void processElement(Piece piece, Context context, Collector<Row> rows) throws Exception {
        TimerService timers = context.timerService();
        add(fiveSeconds, Cut.FIVE_S, piece, timers);
        if (!add(fiveMinutes, Cut.FIVE_MIN, piece, timers) && piece.sums.ticks > 0) {
            context.output(LATE, new Count("late", piece.sums.ticks));
        }
        Sums sums = total.value();
        if (sums == null) {
            sums = new Sums();
            timers.registerEventTimeTimer(Long.MAX_VALUE);
        }
        if (!sums.changed) {
            timers.registerProcessingTimeTimer(nextSecond(timers));
        }
        sums.add(piece.sums);
        total.update(sums);
    }

    /** False: the window has ended for good. */
    private boolean add(MapState<Long, Sums> windows, long size, Piece piece, TimerService timers) throws Exception {
        long start = Cut.window(piece.window, size);
        long over = start + size + latenessUs;
        if (timers.currentWatermark() >= over) {
            return false;
        }
        Sums sums = windows.get(start);
        if (sums == null) {
            sums = new Sums();
            timers.registerEventTimeTimer(over);
        }
        sums.add(piece.sums);
        windows.put(start, sums);
        return true;
    }

    @Override
    public void onTimer(long at, OnTimerContext context, Collector<Row> rows) throws Exception {
        String run = context.getCurrentKey();
        if (context.timeDomain() == TimeDomain.PROCESSING_TIME || at == Long.MAX_VALUE) {
            write(fiveSeconds, run, Cut.FIVE_S, rows);
            write(fiveMinutes, run, Cut.FIVE_MIN, rows);
            Sums sums = total.value();
            if (sums.changed) {
                rows.collect(Row.total(run, sums));
                sums.changed = false;
                total.update(sums);
            }
        } else {
            close(fiveSeconds, run, Cut.FIVE_S, at - latenessUs - Cut.FIVE_S, rows);
            close(fiveMinutes, run, Cut.FIVE_MIN, at - latenessUs - Cut.FIVE_MIN, rows);
        }
    }

    private static void write(MapState<Long, Sums> windows, String run, long size, Collector<Row> rows)
            throws Exception {
        List<Long> written = new ArrayList<>();
        for (Map.Entry<Long, Sums> window : windows.entries()) {
            if (window.getValue().changed) {
                rows.collect(Row.window(run, size, window.getKey(), window.getValue()));
                written.add(window.getKey());
            }
        }
        for (Long start : written) {
            Sums sums = windows.get(start);
            sums.changed = false;
            windows.put(start, sums);
        }
    }

    private static void close(MapState<Long, Sums> windows, String run, long size, long start, Collector<Row> rows)
            throws Exception {
        Sums sums = windows.get(start);
        if (sums != null) {
            if (sums.changed) {
                rows.collect(Row.window(run, size, start, sums));
            }
            windows.remove(start);
        }
    }

    /** Rows of all runs are written together, at whole seconds. */
    static long nextSecond(TimerService timers) {
        return (timers.currentProcessingTime() / 1_000 + 1) * 1_000;
    }
}
