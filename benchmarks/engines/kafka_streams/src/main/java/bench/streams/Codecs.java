package bench.streams;

import bench.BadMessage;
import bench.Seen;
import bench.Sums;
import bench.Tick;
import bench.TickDecoder;
import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Bytes of what goes through topics and stores: fixed fields, one after the other. */
final class Codecs {
    private static final int SUMS_BYTES = 8 * Long.BYTES;

    static final Serde<Seen> SEEN = Serdes.serdeFrom((topic, seen) -> bytesOf(seen), (topic, bytes) -> seenOf(bytes));
    static final Serde<Sums> SUMS = Serdes.serdeFrom(
            (topic, sums) -> sums == null ? null : put(ByteBuffer.allocate(SUMS_BYTES), sums).array(),
            (topic, bytes) -> bytes == null ? null : sumsOf(ByteBuffer.wrap(bytes)));
    static final Serde<Piece> PIECE = Serdes.serdeFrom(
            (topic, piece) -> bytesOf(piece), (topic, bytes) -> pieceOf(ByteBuffer.wrap(bytes)));

    private Codecs() {}

    /** Every message becomes a tick, those that cannot be decoded a dead one. */
    static Deserializer<Tick> ticks() {
        TickDecoder decoder = new TickDecoder();
        return (topic, message) -> {
            Tick tick = new Tick();
            try {
                decoder.decode(message, tick);
            } catch (BadMessage error) {
                tick.setDead();
            }
            return tick;
        };
    }

    private static byte[] bytesOf(Seen seen) {
        ByteBuffer buffer = ByteBuffer.allocate((1 + seen.bits.length) * Long.BYTES).putLong(seen.newest);
        buffer.asLongBuffer().put(seen.bits);
        return buffer.array();
    }

    private static Seen seenOf(byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        Seen seen = new Seen();
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        seen.newest = buffer.getLong();
        buffer.asLongBuffer().get(seen.bits);
        return seen;
    }

    private static byte[] bytesOf(Piece piece) {
        ByteBuffer buffer = ByteBuffer.allocate(3 * Long.BYTES + SUMS_BYTES);
        buffer.putLong(piece.window()).putLong(piece.partition()).putLong(piece.clockMs());
        return put(buffer, piece.sums()).array();
    }

    private static Piece pieceOf(ByteBuffer buffer) {
        return new Piece(buffer.getLong(), (int) buffer.getLong(), buffer.getLong(), sumsOf(buffer));
    }

    private static ByteBuffer put(ByteBuffer buffer, Sums sums) {
        return buffer.putLong(sums.energy).putLong(sums.cpu).putLong(sums.gpu).putLong(sums.memory)
                .putLong(sums.other).putLong(sums.estimated).putLong(sums.ticks).putDouble(sums.grams);
    }

    private static Sums sumsOf(ByteBuffer buffer) {
        Sums sums = new Sums();
        sums.energy = buffer.getLong();
        sums.cpu = buffer.getLong();
        sums.gpu = buffer.getLong();
        sums.memory = buffer.getLong();
        sums.other = buffer.getLong();
        sums.estimated = buffer.getLong();
        sums.ticks = buffer.getLong();
        sums.grams = buffer.getDouble();
        return sums;
    }
}
