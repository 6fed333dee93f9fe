package bench.flink;

import bench.Row;
import bench.Settings;
import bench.Tick;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.KafkaSourceBuilder;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Kafka at both ends. */
public final class Topics {
    /** Event time of each partition on its own; one that is silent for 2 s holds nobody up. */
    public static final WatermarkStrategy<Tick> WATERMARKS =
            WatermarkStrategy.<Tick>forGenerator(context -> new Watermarks())
                    .withTimestampAssigner((tick, kafka) -> tick.end)
                    .withIdleness(Duration.ofSeconds(2));

    private Topics() {}

    private record RowSerializer(String topic) implements KafkaRecordSerializationSchema<Row> {
        @Override
        public ProducerRecord<byte[], byte[]> serialize(Row row, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(
                    topic, row.key.getBytes(StandardCharsets.UTF_8), row.value.getBytes(StandardCharsets.UTF_8));
        }
    }

    /** The ticks; ends where the topic ends now unless the job is live. */
    public static KafkaSource<Tick> samples(Settings settings, DeserializationSchema<Tick> decoder) {
        KafkaSourceBuilder<Tick> source = source(settings, settings.samples(), decoder);
        return settings.live() ? source.build() : source.setBounded(OffsetsInitializer.latest()).build();
    }

    /** A topic from its beginning. */
    public static <T> KafkaSourceBuilder<T> source(Settings settings, String topic, DeserializationSchema<T> decoder) {
        Properties consumer = new Properties();
        consumer.setProperty("check.crcs", "false");
        consumer.setProperty("max.poll.records", "5000");
        consumer.setProperty("fetch.max.wait.ms", "100");
        // Partitions are read in turns of one fetch; small ones keep them close in event time.
        consumer.setProperty("max.partition.fetch.bytes", String.valueOf(64 << 10));
        consumer.setProperty("receive.buffer.bytes", String.valueOf(1 << 20));
        return KafkaSource.<T>builder()
                .setBootstrapServers(settings.bootstrap())
                .setTopics(topic)
                .setGroupId(settings.group())
                .setProperties(consumer)
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(decoder);
    }

    public static KafkaSink<Row> rows(Settings settings, String topic) {
        Properties producer = new Properties();
        producer.setProperty("compression.type", "lz4");
        producer.setProperty("linger.ms", "20");
        producer.setProperty("batch.size", String.valueOf(256 << 10));
        return KafkaSink.<Row>builder()
                .setBootstrapServers(settings.bootstrap())
                .setKafkaProducerConfig(producer)
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .setRecordSerializer(new RowSerializer(topic))
                .build();
    }
}
