package bench;

/**
 * Reads a sample field by field from its bytes, in the order of sample.avsc, up to energy_uj; what follows is not looked at.
 * Strings become objects once per distinct value.
 */
public final class TickDecoder {
    private final Names names = new Names();
    private byte[] bytes;
    private int at;

    /** Fills the tick. */
    public void decode(byte[] message, Tick tick) throws BadMessage {
        Framing.check(message);
        bytes = message;
        at = Framing.LENGTH;
        try {
            tick.collector = text();
            tick.seq = number();
            int host = length();
            at += host;
            tick.run = number() == 0 ? Tick.NO_RUN : text();
            tick.zone = text();
            tick.start = number();
            tick.end = number();
            arrays(tick);
        } catch (ArrayIndexOutOfBoundsException error) {
            throw new BadMessage("cut");
        }
    }

    private void arrays(Tick tick) throws BadMessage {
        int count = block();
        tick.room(count);
        for (int i = 0; i < count; i++) {
            tick.kind[i] = (int) number();
        }
        endOfArray();
        sameLength(count);
        for (int i = 0; i < count; i++) {
            tick.method[i] = (int) number();
        }
        endOfArray();
        sameLength(count);
        for (int i = 0; i < count; i++) {
            tick.energy[i] = number();
        }
        endOfArray();
    }

    private void sameLength(int count) throws BadMessage {
        if (block() != count) {
            throw new BadMessage("arrays of different lengths");
        }
    }

    /** Items of an array; writers use one positive block (sample.avsc), so anything else is refused. */
    private int block() throws BadMessage {
        long count = number();
        if (count <= 0 || count > bytes.length - at) {
            throw new BadMessage("not one positive block");
        }
        return (int) count;
    }

    private void endOfArray() throws BadMessage {
        if (bytes[at++] != 0) {
            throw new BadMessage("array in several blocks");
        }
    }

    private String text() throws BadMessage {
        int length = length();
        String name = names.of(bytes, at, length);
        at += length;
        return name;
    }

    private int length() throws BadMessage {
        long length = number();
        if (length < 0 || length > bytes.length - at) {
            throw new BadMessage("length out of range");
        }
        return (int) length;
    }

    private long number() throws BadMessage {
        long value = bytes[at++];
        if (value < 0) {
            value &= 0x7F;
            int shift = 7;
            long next;
            do {
                if (shift > 63) {
                    throw new BadMessage("number too long");
                }
                next = bytes[at++];
                value |= (next & 0x7F) << shift;
                shift += 7;
            } while (next < 0);
        }
        return value >>> 1 ^ -(value & 1);
    }
}
