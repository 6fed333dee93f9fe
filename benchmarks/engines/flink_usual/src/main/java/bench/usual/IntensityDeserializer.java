package bench.usual;

import bench.BadMessage;
import bench.Intensity;
import java.io.IOException;
import org.apache.avro.Schema;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;

/** Intensities as they come; one that cannot be read would make wrong grams, so it ends the job. */
public class IntensityDeserializer extends AbstractDeserializationSchema<Intensity> {
    private final String schema;
    private transient Intensity.Reader reader;

    public IntensityDeserializer(Schema schema) {
        this.schema = schema.toString();
    }

    @Override
    public void open(InitializationContext context) {
        reader = new Intensity.Reader(new Schema.Parser().parse(schema));
    }

    @Override
    public Intensity deserialize(byte[] message) throws IOException {
        try {
            return reader.read(message);
        } catch (BadMessage error) {
            throw new IOException(error);
        }
    }
}
