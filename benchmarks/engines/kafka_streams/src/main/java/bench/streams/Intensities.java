package bench.streams;

import bench.BadMessage;
import bench.Cut;
import bench.Intensity;
import bench.Settings;
import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** Fills the global store: for zone and 5 minutes the best intensity. Kafka Streams reads it whole before the first sample. */
class Intensities extends ContextualProcessor<byte[], byte[], Void, Void> {
    static final String STORE = "intensities";

    private final Intensity.Reader reader;
    private KeyValueStore<String, byte[]> store;

    Intensities(Settings settings) {
        reader = new Intensity.Reader(settings.schema("intensity"));
    }

    static StoreBuilder<KeyValueStore<String, byte[]>> store() {
        return Stores.keyValueStoreBuilder(
                        Stores.inMemoryKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray())
                .withLoggingDisabled();
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        store = context().getStateStore(STORE);
        try {
            Intensity intensity = reader.read(record.value());
            for (long at = intensity.from; at < intensity.to; at += Cut.FIVE_MIN) {
                byte[] known = store.get(key(intensity.zone, at));
                if (known == null || intensity.rank > ByteBuffer.wrap(known).getInt(Double.BYTES)) {
                    ByteBuffer value = ByteBuffer.allocate(Double.BYTES + Integer.BYTES);
                    store.put(key(intensity.zone, at),
                            value.putDouble(intensity.gramsPerKwh).putInt(intensity.rank).array());
                }
            }
        } catch (BadMessage | IOException error) {
            throw new IllegalStateException("an intensity cannot be read", error);
        }
    }

    static double gramsPerKwh(byte[] value) {
        return value == null ? 0 : ByteBuffer.wrap(value).getDouble();
    }

    static String key(String zone, long window) {
        return zone + "|" + Cut.window(window, Cut.FIVE_MIN);
    }
}
