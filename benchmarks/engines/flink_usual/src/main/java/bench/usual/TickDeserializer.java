package bench.usual;

import bench.BadMessage;
import bench.Framing;
import bench.Tick;
import java.io.IOException;
import java.util.List;
import java.util.Set;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;

/** Avro's own reader with a reader schema of the nine fields that the job needs. */
public class TickDeserializer extends AbstractDeserializationSchema<Tick> {
    private static final Set<String> READ = Set.of(
            "collector_id", "seq", "run_id", "zone", "start", "end", "kind", "method", "energy_uj");

    private final String schema;
    private transient GenericDatumReader<GenericRecord> reader;
    private transient BinaryDecoder decoder;
    private transient GenericRecord record;

    public TickDeserializer(Schema schema) {
        this.schema = schema.toString();
    }

    @Override
    public void open(InitializationContext context) {
        Schema writer = new Schema.Parser().parse(schema);
        List<Schema.Field> fields = writer.getFields().stream()
                .filter(field -> READ.contains(field.name()))
                .map(field -> new Schema.Field(field.name(), field.schema(), field.doc(), null))
                .toList();
        Schema projected = Schema.createRecord(writer.getName(), null, writer.getNamespace(), false, fields);
        reader = new GenericDatumReader<>(writer, projected);
    }

    @Override
    public Tick deserialize(byte[] message) {
        Tick tick = new Tick();
        try {
            Framing.check(message);
            decoder = DecoderFactory.get().binaryDecoder(
                    message, Framing.LENGTH, message.length - Framing.LENGTH, decoder);
            record = reader.read(record, decoder);
            fill(tick, record);
        } catch (BadMessage | IOException | AvroRuntimeException error) {
            tick.setDead();
        }
        return tick;
    }

    private static void fill(Tick tick, GenericRecord record) {
        tick.collector = record.get("collector_id").toString();
        tick.seq = (Long) record.get("seq");
        tick.run = record.get("run_id") == null ? Tick.NO_RUN : record.get("run_id").toString();
        tick.zone = record.get("zone").toString();
        tick.start = (Long) record.get("start");
        tick.end = (Long) record.get("end");
        tick.kind = ((List<?>) record.get("kind")).stream().mapToInt(kind -> (Integer) kind).toArray();
        tick.method = ((List<?>) record.get("method")).stream().mapToInt(method -> (Integer) method).toArray();
        tick.energy = ((List<?>) record.get("energy_uj")).stream().mapToLong(energy -> (Long) energy).toArray();
        tick.devices = tick.kind.length;
    }
}
