package bench;

import java.io.IOException;
import java.io.Serializable;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;

/** Carbon intensity of a zone in one period. */
public class Intensity implements Serializable {
    private static final Map<String, Integer> TRUST = Map.of("actual", 1 << 16);

    public String zone;
    public long from;
    public long to;
    public double gramsPerKwh;
    /** The highest counts: actual before all others, then the highest revision. */
    public int rank;

    public boolean isBetterThan(Intensity other) {
        return other == null || rank > other.rank;
    }

    /** Reads framed intensities. Rare messages: plain Avro is fast enough. */
    public static final class Reader {
        private final GenericDatumReader<GenericRecord> reader;
        private BinaryDecoder decoder;

        public Reader(Schema schema) {
            reader = new GenericDatumReader<>(schema);
        }

        public Intensity read(byte[] message) throws BadMessage, IOException {
            Framing.check(message);
            int length = message.length - Framing.LENGTH;
            decoder = DecoderFactory.get().binaryDecoder(message, Framing.LENGTH, length, decoder);
            GenericRecord record = reader.read(null, decoder);
            Intensity found = new Intensity();
            found.zone = record.get("zone").toString();
            found.from = (Long) record.get("valid_from");
            found.to = (Long) record.get("valid_to");
            found.gramsPerKwh = (Double) record.get("intensity_g_per_kwh");
            found.rank = (Integer) record.get("revision") + TRUST.getOrDefault(record.get("kind").toString(), 0);
            return found;
        }
    }
}
