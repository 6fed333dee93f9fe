package bench.expert;

import bench.BadMessage;
import bench.Intensity;
import bench.IntensityTable;
import bench.Settings;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads the intensities before the job starts; the topic is complete by then. */
final class Intensities {
    private Intensities() {}

    static IntensityTable read(Settings settings) throws IOException, BadMessage {
        Intensity.Reader reader = new Intensity.Reader(settings.schema("intensity"));
        IntensityTable table = new IntensityTable();
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.bootstrap());
        var bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            TopicPartition only = new TopicPartition(settings.intensity(), 0);
            consumer.assign(List.of(only));
            consumer.seekToBeginning(List.of(only));
            long end = consumer.endOffsets(List.of(only)).get(only);
            while (consumer.position(only) < end) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    table.add(reader.read(record.value()));
                }
            }
        }
        return table;
    }
}
