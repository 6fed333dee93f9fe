package bench.usual;

import bench.Intensity;
import bench.Settings;
import bench.Tick;
import bench.flink.Count;
import bench.flink.Counts;
import bench.flink.Job;
import bench.flink.Piece;
import bench.flink.RunWindows;
import bench.flink.Topics;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.streaming.api.datastream.BroadcastStream;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The Flink DataStream job as it is usually written: Avro records, a stream of readings, keyed and broadcast state. */
public final class Usual {
    private Usual() {}

    public static void main(String[] words) throws Exception {
        Job.run(Usual::build);
    }

    private static void build(StreamExecutionEnvironment environment, Settings settings, String output) {
        SingleOutputStreamOperator<Tick> ticks = environment
                .fromSource(
                        Topics.source(settings, settings.samples(), new TickDeserializer(settings.schema("sample"))),
                        Topics.watermarks(settings), "samples")
                .process(new Undecodable());
        SingleOutputStreamOperator<Piece> readings = ticks
                .keyBy(tick -> tick.collector)
                .connect(intensities(environment, settings))
                .process(new Readings(intensityRecords(settings)));
        var rows = readings.keyBy(piece -> piece.run).process(new RunWindows(settings.latenessUs()));
        DataStream<Count> counts = ticks.getSideOutput(Undecodable.DEAD)
                .union(readings.getSideOutput(Readings.DUPLICATE), rows.getSideOutput(RunWindows.LATE));
        rows.union(counts.keyBy(count -> count.name).process(new Counts())).sinkTo(Topics.rows(settings, output));
    }

    /** No clock of their own: they end in a catch-up, and count as idle in a live run, so that they hold no watermark back. */
    private static BroadcastStream<Intensity> intensities(StreamExecutionEnvironment environment, Settings settings) {
        var source = Topics.source(
                settings, settings.intensity(), new IntensityDeserializer(settings.schema("intensity")));
        WatermarkStrategy<Intensity> idle = WatermarkStrategy.noWatermarks();
        return environment
                .fromSource(
                        source, settings.live() ? idle.withIdleness(Duration.ofSeconds(1)) : idle, "intensities")
                .broadcast(Readings.INTENSITIES);
    }

    /** Records of the topic; samples wait until the broadcast state has them all. */
    private static long intensityRecords(Settings settings) {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.bootstrap());
        var bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            TopicPartition only = new TopicPartition(settings.intensity(), 0);
            return consumer.endOffsets(List.of(only)).get(only);
        }
    }
}
