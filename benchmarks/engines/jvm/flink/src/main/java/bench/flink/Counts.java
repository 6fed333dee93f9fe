package bench.flink;

import bench.Row;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Adds up what is counted; a row a second while it changes, and one at the end. */
public class Counts extends KeyedProcessFunction<String, Count, Row> {
    private transient ValueState<Long> numbers;

    @Override
    public void open(OpenContext context) {
        numbers = getRuntimeContext().getState(new ValueStateDescriptor<>("number", Long.class));
    }

    @Override
    public void processElement(Count count, Context context, Collector<Row> rows) throws Exception {
        Long before = numbers.value();
        if (before == null) {
            context.timerService().registerEventTimeTimer(Long.MAX_VALUE);
        }
        numbers.update((before == null ? 0 : before) + count.number);
        // Timers of one key and instant are one timer.
        context.timerService().registerProcessingTimeTimer(RunWindows.nextSecond(context.timerService()));
    }

    @Override
    public void onTimer(long at, OnTimerContext context, Collector<Row> rows) throws Exception {
        rows.collect(Row.count(context.getCurrentKey(), numbers.value()));
    }
}
