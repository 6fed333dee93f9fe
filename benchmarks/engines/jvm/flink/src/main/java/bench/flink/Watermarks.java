package bench.flink;

import bench.Tick;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;

/**
 * 5 s behind the newest tick of a partition. Besides Flink's periodic call there is a watermark for every 10 s of event time: in a
 * catch-up, minutes pass between two periodic ones.
 */
public class Watermarks implements WatermarkGenerator<Tick> {
    private static final long BEHIND_US = 5_000_000;
    private static final long STEP_US = 10_000_000;

    private long newest = Long.MIN_VALUE + BEHIND_US;
    private long said = Long.MIN_VALUE;

    @Override
    public void onEvent(Tick tick, long end, WatermarkOutput output) {
        newest = Math.max(newest, end);
        if (newest - BEHIND_US > said + STEP_US) {
            onPeriodicEmit(output);
        }
    }

    @Override
    public void onPeriodicEmit(WatermarkOutput output) {
        said = newest - BEHIND_US;
        output.emitWatermark(new Watermark(said));
    }
}
