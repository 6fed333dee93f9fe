package bench.usual;

import bench.Tick;
import bench.flink.Count;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/** Leads the messages that cannot be decoded aside. */
public class Undecodable extends ProcessFunction<Tick, Tick> {
    public static final OutputTag<Count> DEAD = new OutputTag<>("dead") {};

    @Override
    public void processElement(Tick tick, Context context, Collector<Tick> ticks) {
        if (tick.isDead()) {
            context.output(DEAD, new Count("dead", 1));
        } else {
            ticks.collect(tick);
        }
    }
}
