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
    private Topics() {}

    private record RowSerializer(String topic) implements KafkaRecordSerializationSchema<Row> {
        @Override
        public ProducerRecord<byte[], byte[]> serialize(Row row, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(
                    topic, row.key.getBytes(StandardCharsets.UTF_8), row.value.getBytes(StandardCharsets.UTF_8));
        }
    }

    /**
     * Event time of each partition on its own. In a live run a partition that is silent for 10 s holds nobody up; a catch-up needs no such
     * guess by the clock on the wall, because an empty partition is at its end.
     */
    public static WatermarkStrategy<Tick> watermarks(Settings settings) {
        WatermarkStrategy<Tick> strategy = WatermarkStrategy.<Tick>forGenerator(context -> new Watermarks())
                .withTimestampAssigner((tick, kafka) -> tick.end);
        return settings.live() ? strategy.withIdleness(Duration.ofSeconds(10)) : strategy;
    }

    /** A topic from its beginning; a catch-up ends where the topic ends now. */
    public static <T> KafkaSource<T> source(Settings settings, String topic, DeserializationSchema<T> decoder) {
        Properties consumer = new Properties();
        consumer.setProperty("check.crcs", "false");
        consumer.setProperty("max.poll.records", "5000");
        consumer.setProperty("fetch.max.wait.ms", "100");
        // Partitions are read in turns of one fetch; small ones keep them close in event time.
        consumer.setProperty("max.partition.fetch.bytes", String.valueOf(16 << 10));
        consumer.setProperty("receive.buffer.bytes", String.valueOf(1 << 20));
        KafkaSourceBuilder<T> source = KafkaSource.<T>builder()
                .setBootstrapServers(settings.bootstrap())
                .setTopics(topic)
                .setGroupId(settings.group())
                .setProperties(consumer)
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(decoder);
        return settings.live() ? source.build() : source.setBounded(OffsetsInitializer.latest()).build();
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
