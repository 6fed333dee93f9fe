package bench.expert;

import bench.BadMessage;
import bench.Tick;
import bench.TickDecoder;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;

/** Decodes into one tick that is used again and again: what is chained to the source is done with it at once. */
public class HandDecoder extends AbstractDeserializationSchema<Tick> {
    private transient TickDecoder decoder;
    private transient Tick tick;

    @Override
    public void open(InitializationContext context) {
        decoder = new TickDecoder();
        tick = new Tick();
    }

    @Override
    public Tick deserialize(byte[] message) {
        try {
            decoder.decode(message, tick);
        } catch (BadMessage error) {
            tick.setDead();
        }
        return tick;
    }
}
